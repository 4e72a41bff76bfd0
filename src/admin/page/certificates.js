// Certificates, and when they expire.

import { showCards } from "./cards.js";
import { byId, element, link } from "./elements.js";
import { counted, day } from "./text.js";

/** The days that are left of a certificate; below zero it has expired. */
export const daysLeft = ({ expires_at: at }) => Math.floor((Date.parse(at) - Date.now()) / 86_400_000);

/** From so many days on it is time to renew it. */
export const SOON_DAYS = 21;

function parts(_, { days, ...certificate }) {
  const state = days < 0 ? ["▲ expired", "bad"] : days < SOON_DAYS ? ["▲ expires soon", "bad"] : ["● valid", "good"];
  const whose = certificate.upstream === null ? ["shown to clients"] : ["shown to upstream ", link("upstream", certificate.upstream)];
  return [
    element("header", "", element("h3", "", certificate.path), element("span", `pill ${state[1]}`, state[0])),
    element("p", "", `${certificate.names.slice(0, 5).join(", ") || "no names"}${certificate.names.length > 5 ? ` and ${certificate.names.length - 5} more` : ""}`),
    element("p", "", ...whose),
    element("p", days < SOON_DAYS ? "bad" : "", days < 0 ? `expired on ${day(certificate.expires_at)}` : `until ${day(certificate.expires_at)}, ${counted(days, "day")}`),
  ];
}

export function showCertificates(certificates) {
  byId("certificates-section").hidden = certificates.length === 0;
  const soonest = certificates.map((certificate) => ({ ...certificate, days: daysLeft(certificate) })).sort((a, b) => a.days - b.days).slice(0, 50);
  showCards("certificates", soonest.map((item) => [`${item.path} ${item.upstream ?? ""}`, item]), "", parts);
}
