# Build: dependencies first, in a layer that changes only with the manifests.
FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY mock-backend/Cargo.toml mock-backend/
RUN mkdir -p src mock-backend/src mock-backend/tests tests benches/limiter \
    && echo 'fn main() {}' | tee src/main.rs mock-backend/src/main.rs mock-backend/tests/main.rs tests/main.rs benches/access_log.rs benches/limiter/main.rs >/dev/null \
    && touch src/lib.rs mock-backend/src/lib.rs \
    && cargo build --release --locked --workspace
COPY src src
COPY mock-backend/src mock-backend/src
# The placeholders are newer than the real sources: say which to build again.
RUN touch src/lib.rs src/main.rs mock-backend/src/lib.rs mock-backend/src/main.rs \
    && cargo build --release --locked --workspace
# The images have the programs without their symbols. Each names the file that has them (.gnu_debuglink).
RUN mkdir /out \
    && for program in gateway mock-backend; do \
        objcopy --only-keep-debug "target/release/$program" "/out/$program.debug" \
        && objcopy --strip-all --add-gnu-debuglink="/out/$program.debug" "target/release/$program" "/out/$program" \
        || exit 1; \
    done

# Symbols, for files and not for an image: docker build --target symbols --output symbols .
FROM scratch AS symbols
COPY --from=build /out/*.debug /

# Run: the programs and nothing else, as nobody in particular.
FROM debian:bookworm-slim AS runtime
# Whom to trust when an upstream speaks TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin gateway
USER 10001

FROM runtime AS mock-backend
COPY --from=build /out/mock-backend /usr/local/bin/mock-backend
EXPOSE 9000
ENTRYPOINT ["mock-backend"]
CMD ["--listen", "0.0.0.0:9000"]

FROM runtime AS gateway
COPY --from=build /out/gateway /usr/local/bin/gateway
COPY config/gateway.toml /etc/gateway/gateway.toml
ENV GATEWAY_CONFIG=/etc/gateway/gateway.toml
EXPOSE 8000 8001
# Whether it lives: one that is well with a dead upstream, or with a file that it has refused to load, is not to be replaced.
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s --retries=3 CMD ["gateway", "healthcheck"]
ENTRYPOINT ["gateway"]
