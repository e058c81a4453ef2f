//! An application that monitors itself: its own metrics, stored and queried in its own process.

#![allow(clippy::print_stdout)]

use std::time::Duration;

use ferula::{Error, Monitor};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let monitor =
        Monitor::builder("data-embed").store_own_metrics(Duration::from_secs(1)).listen("127.0.0.1:0").start().await?;
    println!("look around: http://{}/api/v1/query?query=orders_total", monitor.addresses()[0]);

    let orders = monitor.registry().counter_family("orders_total", "Orders taken.", ["kind"])?;
    for minute in 0..10 {
        orders.with(["pizza"]).inc_by(minute);
        orders.with(["salad"]).inc();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for sample in monitor.instant("sum by (kind) (rate(orders_total[10s]))").await?.vector()? {
        println!("{} {} orders per second", sample.labels, sample.value);
    }
    monitor.closed().await
}
