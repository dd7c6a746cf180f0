//! `yin`: the one binary. Names the parts of a node and the order in which they start and stop; how
//! they work is theirs to know.
mod admin;
mod admission;
mod background;
mod bench;
mod cli;
mod config;
mod directory;
mod found;
mod http;
mod init;
mod join;
mod log_lines;
mod plan;
mod random;
mod room;
mod serve;
mod stores;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser as _;
use serde::Serialize;

use crate::admin::shapes::{
    MemberShape, StatusShape, TokenAsk, TokenShape, TransferAsk, VerifyShape,
};
use crate::admin::{client, table};
use crate::cli::{Ask, Cli, Command, Dev, DevS3, Internal, Output};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long the last log lines may take to be read before the process ends without.
const LAST_LINES: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The confined child starts no threads before it is confined.
    if let Command::Internal(Internal::Cover { arguments }) = cli.command {
        return media::child::serve(arguments.into_iter());
    }
    // Load needs neither a runtime of ours nor logs.
    if let Command::Bench(flags) = &cli.command {
        return ended(bench::run(flags).map(|()| ExitCode::SUCCESS));
    }
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing else installs a TLS provider");
    let (logs, runtime) = match (telemetry::logs(), tokio::runtime::Runtime::new()) {
        (Ok(logs), Ok(runtime)) => (logs, runtime),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("error: starting threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli.command));
    logs.flush(LAST_LINES);
    ended(result)
}

fn ended(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Init(flags) => init::run(&flags)?,
        Command::Serve(flags) => serve::run(&flags).await?,
        Command::Token(flags) => {
            let body = TokenAsk {
                uses: flags.uses,
                ttl_hours: flags.ttl_hours,
            };
            let token: TokenShape = client::ask(&flags.ask.data, "/token", Some(&body)).await?;
            print(&flags.ask, &token, |token| token.token.clone())?;
        }
        Command::Status(ask) => {
            let status: StatusShape = get(&ask, "/status").await?;
            print(&ask, &status, table::status)?;
        }
        Command::Members(ask) => {
            let members: Vec<MemberShape> = get(&ask, "/members").await?;
            print(&ask, &members, |members| table::members(members))?;
        }
        Command::Verify(ask) => {
            let report: VerifyShape = get(&ask, "/verify").await?;
            print(&ask, &report, table::verify)?;
            if report.difference_count > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Transfer(flags) => {
            let body = TransferAsk { to: flags.to };
            let leader: Option<u64> =
                client::ask(&flags.ask.data, "/transfer", Some(&body)).await?;
            print(&flags.ask, &leader, |leader| match leader {
                Some(leader) => format!("node {leader} leads"),
                None => "leadership is on its way".to_owned(),
            })?;
        }
        Command::Dev(Dev::S3(flags)) => dev_s3(&flags).await?,
        Command::Bench(_) | Command::Internal(Internal::Cover { .. }) => {
            unreachable!("handled before the runtime")
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn get<T: serde::de::DeserializeOwned>(ask: &Ask, path: &str) -> Result<T> {
    client::ask(&ask.data, path, None::<&()>).await
}

fn print<T: Serialize>(ask: &Ask, value: &T, table: impl Fn(&T) -> String) -> Result<()> {
    match ask.output {
        Output::Table => println!("{}", table(value)),
        Output::Json => println!("{}", serde_json::to_string_pretty(value)?),
    }
    Ok(())
}

async fn dev_s3(flags: &DevS3) -> Result<()> {
    let secret = |name: &str| -> Result<String> {
        config::environment_secret(name, None)?
            .with_context(|| format!("set {name} (or {name}_FILE) to the key clients will use"))
    };
    let server = s3::Server::start(s3::Options {
        listen: flags.listen,
        dir: flags.dir.clone(),
        access_key: secret("YIN_S3_ACCESS_KEY")?,
        secret_key: secret("YIN_S3_SECRET_KEY")?,
        buckets: flags.bucket.clone(),
        ..Default::default()
    })
    .await
    .context("starting the S3 server")?;
    tracing::info!(address = %server.addr, dir = %flags.dir.display(), "S3 is up");
    serve::signalled().await;
    server.shutdown().await;
    Ok(())
}
