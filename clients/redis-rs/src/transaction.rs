//! A transaction, as the documentation of redis-rs has it: an atomic pipeline, which sends MULTI, the commands and EXEC together, and where
//! keys are watched inside of what `transaction_async` calls. That waits in there for the harness to say exec.

use std::pin::Pin;
use std::sync::Arc;

use redis::aio::{ConnectionLike, transaction_async};
use redis::{Pipeline, RedisResult, Value};
use tokio::sync::Notify;

pub struct Transaction {
    order: Arc<Order>,
    replies: Pin<Box<dyn Future<Output = RedisResult<Option<Value>>> + Send>>,
}

struct Order {
    commands: Vec<Vec<String>>,
    begun: Notify,
    exec: Notify,
}

impl Transaction {
    /// Returns when the keys are watched. Without any, nothing has been sent then.
    pub async fn begin(
        connection: impl ConnectionLike + Clone + Send + Sync + 'static,
        commands: Vec<Vec<String>>,
        watch: Vec<String>,
    ) -> RedisResult<Self> {
        let order = Arc::new(Order { commands, begun: Notify::new(), exec: Notify::new() });
        let asked = order.clone();
        let mut replies: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(async move {
            if watch.is_empty() {
                return run(asked, connection, redis::pipe().atomic().clone()).await;
            }
            // It calls anew after each None, which stands for a watched key that had changed: nothing here could be read anew.
            transaction_async(connection, &watch, |connection, pipeline| {
                let run = run(asked.clone(), connection, pipeline);
                async { Ok(Some(run.await?)) }
            })
            .await
        });
        tokio::select! {
            _ = order.begun.notified() => Ok(Transaction { order: order.clone(), replies }),
            done = &mut replies => Err(done.expect_err("it waits for exec")),
        }
    }

    /// The replies, or None where a watched key had changed.
    pub async fn exec(self) -> RedisResult<Option<Value>> {
        self.order.exec.notify_one();
        self.replies.await
    }
}

async fn run(order: Arc<Order>, mut connection: impl ConnectionLike, mut pipeline: Pipeline) -> RedisResult<Option<Value>> {
    order.begun.notify_one();
    order.exec.notified().await;
    for args in &order.commands {
        let mut command = redis::Cmd::new();
        command.arg(args);
        pipeline.add_command(command);
    }
    pipeline.query_async(&mut connection).await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use redis::{Cmd, RedisFuture};

    use super::*;

    /// Takes notes of what it sends, and answers every EXEC alike.
    #[derive(Clone)]
    struct Connection {
        sent: Arc<Mutex<Vec<String>>>,
        exec: Value,
    }

    impl ConnectionLike for Connection {
        fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
            self.sent.lock().unwrap().push(words(&command.get_packed_command()));
            Box::pin(async { Ok(Value::Okay) })
        }

        fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, _: usize, _: usize) -> RedisFuture<'a, Vec<Value>> {
            self.sent.lock().unwrap().push(words(&pipeline.get_packed_pipeline()));
            Box::pin(async { Ok(vec![self.exec.clone()]) })
        }

        fn get_db(&self) -> i64 {
            0
        }
    }

    fn words(packed: &[u8]) -> String {
        String::from_utf8_lossy(packed).split("\r\n").filter(|line| !line.starts_with(['*', '$'])).collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn what_is_watched_is_watched_first_and_the_rest_waits_for_exec() {
        let done = Value::Array(vec![Value::Int(6), Value::Int(1)]);
        let all = "MULTI DECR stock INCR sold EXEC ";
        let cases = [
            (vec![], &done, Some(done.clone()), vec![], vec![all]),
            (vec!["stock"], &done, Some(done.clone()), vec!["WATCH stock "], vec!["WATCH stock ", all, "UNWATCH "]),
            (vec!["stock"], &Value::Nil, None, vec!["WATCH stock "], vec!["WATCH stock ", all, "UNWATCH "]),
        ];
        for (watch, exec, reply, begun, ended) in cases {
            let connection = Connection { sent: Arc::default(), exec: exec.clone() };
            let sent = || connection.sent.lock().unwrap().clone();
            let commands = ["DECR stock", "INCR sold"].map(|line| line.split(' ').map(str::to_owned).collect());
            let watch = watch.into_iter().map(str::to_owned).collect();
            let transaction = Transaction::begin(connection.clone(), commands.into(), watch).await.unwrap();
            assert_eq!(sent(), begun);
            assert_eq!(transaction.exec().await.unwrap(), reply);
            assert_eq!(sent(), ended);
        }
    }

    #[tokio::test]
    async fn a_watch_that_fails_is_a_begin_that_fails() {
        let server = redis::Client::open("redis://127.0.0.1:1").unwrap();
        let config = redis::aio::ConnectionManagerConfig::new().set_number_of_retries(0);
        let connection = server.get_connection_manager_lazy(config).unwrap();
        let failed = Transaction::begin(connection, vec![vec!["PING".into()]], vec!["key".into()]).await;
        assert!(failed.err().unwrap().is_io_error());
    }
}
