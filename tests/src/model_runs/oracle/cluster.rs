//! Founding, join tokens, nodes, settings.
use model::command::{Operation, Reply};
use model::error::Rejection;
use model::id::NodeId;
use model::token::TokenHash;

use super::{Answer, Oracle, Ticket};

impl Oracle {
    pub(super) fn act_on_cluster(&mut self, operation: &Operation, now: u64) -> Answer {
        match operation {
            Operation::Found(_) => {
                if std::mem::replace(&mut self.is_founded, true) {
                    return Err(Rejection::AlreadyFounded);
                }
                Ok(self.admit())
            }
            Operation::CreateJoinToken(it) => {
                if it.uses == 0 || it.expires.0 <= now {
                    return Err(Rejection::InvalidJoinToken);
                }
                self.is_token_free(it.token)?;
                let ticket = Ticket {
                    expires: it.expires.0,
                    uses: it.uses,
                };
                self.tickets.insert(it.token, ticket);
                Ok(Reply::Done)
            }
            Operation::AdmitNode(it) => self.admit_node(it.token, it.replaces, now),
            Operation::RetireNode(it) => {
                let retired = self.member(it.node).ok_or(Rejection::NodeNotFound)?;
                *retired = true;
                Ok(Reply::Done)
            }
            Operation::Configure(it) => self.configure(&it.name, it.value.trim()),
            _ => unreachable!("only what concerns the cluster comes here"),
        }
    }

    fn admit_node(
        &mut self,
        token: Option<TokenHash>,
        replaces: Option<NodeId>,
        now: u64,
    ) -> Answer {
        let is_valid = |ticket: &Ticket| ticket.uses > 0 && ticket.expires > now;
        if let Some(token) = token
            && !self.tickets.get(&token).is_some_and(is_valid)
        {
            return Err(Rejection::InvalidJoinToken);
        }
        let may_replace = match replaces {
            Some(node) => !*self.member(node).ok_or(Rejection::NodeNotFound)?,
            None => false,
        };
        if token.is_none() && !may_replace {
            return Err(Rejection::InvalidJoinToken);
        }
        if let Some(token) = token
            && let Some(ticket) = self.tickets.get_mut(&token)
        {
            ticket.uses -= 1;
            if ticket.uses == 0 {
                self.tickets.remove(&token);
            }
        }
        if let Some(retired) = replaces.and_then(|node| self.member(node)) {
            *retired = true;
        }
        Ok(self.admit())
    }

    fn admit(&mut self) -> Reply {
        self.members.push(false);
        Reply::Admitted {
            node: NodeId(self.nodes()),
        }
    }

    fn member(&mut self, node: NodeId) -> Option<&mut bool> {
        let place = usize::try_from(node.0).ok()?.checked_sub(1)?;
        self.members.get_mut(place)
    }

    fn configure(&mut self, name: &str, value: &str) -> Answer {
        let is_fitting = match name {
            "chat.friends_only" => value == "true" || value == "false",
            "token.lifetime_days" => value
                .parse()
                .is_ok_and(|days: u32| (1..=3650).contains(&days)),
            "cluster.voters" => ["1", "3", "5"].contains(&value),
            _ => false,
        };
        if !is_fitting {
            return Err(Rejection::InvalidSetting(String::new()));
        }
        self.settings.insert(name.to_owned(), value.to_owned());
        Ok(Reply::Done)
    }

    /// How many nodes were ever admitted.
    pub(in super::super) fn nodes(&self) -> u64 {
        self.members.len() as u64
    }

    pub(in super::super) fn tickets(&self) -> Vec<TokenHash> {
        self.tickets.keys().copied().collect()
    }
}
