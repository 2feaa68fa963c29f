//! Work that the server does in the background.

use lxd_api::operations::Operation;
use serde_json::Value;

use crate::client::{Client, path};
use crate::websocket::Events;
use crate::{Error, Result};

/// An operation that was started, or an answer that needed none.
#[derive(Debug)]
pub struct Background {
    client: Client,
    operation: Option<Operation>,
}

/// How an operation ended; none where the answer came at once.
pub type BackgroundEnd = Option<Operation>;

/// Status codes from this one on mean that the operation failed or was cancelled.
const FAILED: u16 = 400;
/// Status codes from this one on, 400 excluded, mean that it is over.
const OVER: u16 = 200;
/// `Running` and the other states on the way are below this, except [`CANCELLING`].
const CANCELLING: u16 = 104;

impl Background {
    pub(crate) fn new(client: Client, operation: Operation) -> Self {
        Self {
            client,
            operation: Some(operation),
        }
    }

    pub(crate) fn ended(client: Client) -> Self {
        Self {
            client,
            operation: None,
        }
    }

    /// An operation that is already known by its id.
    pub fn of(client: &Client, operation: Operation) -> Self {
        Self::new(client.clone(), operation)
    }

    /// The operation as the server described it when it began; none where the answer came at once.
    pub fn operation(&self) -> Option<&Operation> {
        self.operation.as_ref()
    }

    /// One of the operation's metadata; `null` where there is none of that name.
    pub fn metadata(&self, key: &str) -> &Value {
        self.operation
            .as_ref()
            .map_or(&Value::Null, |operation| &operation.metadata[key])
    }

    /// Waits for the end, in one request.
    ///
    /// # Errors
    /// [`Error::Failed`] with the server's text when the operation failed or was cancelled.
    pub async fn wait(&self) -> Result<BackgroundEnd> {
        self.end().await?.map(outcome).transpose()
    }

    /// Waits for the end, in one request, whether it is a success or not.
    pub async fn end(&self) -> Result<BackgroundEnd> {
        let Some(operation) = &self.operation else {
            return Ok(None);
        };
        if is_over(operation) {
            return Ok(Some(operation.clone()));
        }
        self.client
            .get(&path(&["operations", &operation.id, "wait"]))
            .await
            .map(Some)
    }

    /// Waits for the end and tells of the operation's changes on the way, for progress bars.
    ///
    /// # Errors
    /// [`Error::Failed`] with the server's text when the operation failed or was cancelled.
    pub async fn wait_with(&self, mut changed: impl FnMut(&Operation)) -> Result<BackgroundEnd> {
        let Some(operation) = &self.operation else {
            return Ok(None);
        };
        let id = operation.id.clone();
        let progress = async {
            // Progress is a nicety: the wait below goes on without it.
            let Ok(mut events) = Events::open(&self.client, &["operation"]).await else {
                return std::future::pending().await;
            };
            while let Ok(Some(event)) = events.next().await {
                if event.metadata["id"] == id.as_str()
                    && let Ok(operation) = serde_json::from_value::<Operation>(event.metadata)
                {
                    changed(&operation);
                }
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            ended = self.wait() => ended,
            never = progress => match never {},
        }
    }

    /// Asks the server to give up.
    pub async fn cancel(&self) -> Result<()> {
        match &self.operation {
            Some(operation) => self.client.remove(&path(&["operations", &operation.id])).await,
            None => Ok(()),
        }
    }
}

fn is_over(operation: &Operation) -> bool {
    operation.status_code >= OVER && operation.status_code != CANCELLING
}

fn outcome(operation: Operation) -> Result<Operation> {
    if operation.status_code >= FAILED {
        return Err(Error::Failed {
            code: operation.status_code,
            text: operation.err,
        });
    }
    Ok(operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(status_code: u16, err: &str) -> Operation {
        Operation {
            status_code,
            err: err.into(),
            ..Operation::default()
        }
    }

    #[test]
    fn failure_carries_the_servers_text() {
        let error = outcome(operation(400, "No space left")).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (400, "No space left"));
        assert!(outcome(operation(200, "")).is_ok());
    }

    #[test]
    fn running_is_not_over() {
        assert!(!is_over(&operation(103, "")));
        assert!(!is_over(&operation(105, "")));
        assert!(is_over(&operation(401, "")));
    }
}
