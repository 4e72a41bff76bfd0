//! The mock backend as a program.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use mock_backend::Name;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// An HTTP service to try and test the gateway with.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "MOCK_LISTEN", default_value = "127.0.0.1:9000", value_name = "ADDR")]
    listen: String,

    /// What to call this server in the X-Backend header of its responses.
    #[arg(long, default_value = "mock")]
    name: Name,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mock-backend: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> io::Result<()> {
    // Before the line that says "ready": whoever reads it may send a signal at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (listener, addr) = bind(&args.listen).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", args.listen))
    })?;

    let mut stdout = io::stdout();
    // A closed stdout is no reason not to serve.
    let _ = writeln!(stdout, "mock-backend listening on http://{addr}").and_then(|()| stdout.flush());

    mock_backend::serve(listener, args.name, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await;
    Ok(())
}

async fn bind(listen: &str) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}
