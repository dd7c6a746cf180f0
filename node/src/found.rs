//! The first start of a new cluster: its identity and first join token go into the log.
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::cluster::{CreateJoinToken, Found, Identity, NodeInfo};
use model::command::{Operation, Reply, RequestId};
use model::error::Rejection;
use model::time::Timestamp;
use model::token::TokenHash;
use raft::clock::Clock;
use raft::replica::{Proposal, Replica};

use crate::directory::{Directory, Founding, Who, array};

const WITHIN: Duration = Duration::from_secs(30);

/// Founds the cluster if `yin init` prepared it and that was not done yet.
///
/// # Errors
/// When the log does not take it.
pub(crate) async fn found(
    directory: &Directory,
    who: &Who,
    replica: &Replica,
    address: SocketAddr,
    clock: &dyn Clock,
) -> Result<()> {
    let Some(founding) = directory.founding()? else {
        return Ok(());
    };
    replica
        .bootstrap(address)
        .await
        .context("starting the first voter")?;
    let request: [u8; 16] = array(&founding.request)?;
    let identity = identity(who, &founding)?;
    propose(
        replica,
        clock,
        request,
        Operation::Found(Found {
            identity,
            node: NodeInfo {
                incarnation: array(&who.incarnation)?,
                zone: who.zone.clone(),
            },
        }),
    )
    .await?;
    let mut next = request;
    next[0] ^= 0xff;
    let expires = clock.now().0 + u64::from(founding.token_ttl_hours) * 3_600_000;
    propose(
        replica,
        clock,
        next,
        Operation::CreateJoinToken(CreateJoinToken {
            token: TokenHash(array(&founding.token_hash)?),
            expires: Timestamp(expires),
            uses: founding.token_uses,
        }),
    )
    .await?;
    directory.forget("founding.json")?;
    tracing::info!(cluster = who.cluster_id, "founded the cluster");
    Ok(())
}

fn identity(who: &Who, founding: &Founding) -> Result<Identity> {
    Ok(Identity {
        cluster_id: who.cluster_id.clone(),
        epoch: founding.epoch,
        position_key: array(&founding.position_key)?,
        ca_certificate: who.ca_certificate.0.clone(),
        sealed_ca_key: founding.sealed_ca_key.0.clone(),
    })
}

/// The request ids come from `founding.json`, so that a start that was cut short is completed by
/// the next one, not repeated.
async fn propose(
    replica: &Replica,
    clock: &dyn Clock,
    request: [u8; 16],
    operation: Operation,
) -> Result<()> {
    let written = replica
        .write(
            Proposal {
                request: RequestId(request),
                issued: clock.now(),
                actor: None,
                operation,
            },
            WITHIN,
        )
        .await
        .context("founding the cluster")?;
    match written.reply {
        // Done by an earlier start, so long ago that the request itself is forgotten.
        Reply::Rejected(Rejection::AlreadyFounded) => Ok(()),
        Reply::Rejected(rejection) => bail!("founding the cluster: {rejection}"),
        _ => Ok(()),
    }
}
