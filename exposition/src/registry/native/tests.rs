use std::sync::Arc;
use std::time::Duration;

use ferula_model::{ManualClock, Timestamp};

use super::*;

fn sketch(options: NativeOptions) -> Sketch {
    Sketch::new(options, 0, None)
}

/// Count, schema and the buckets as text.
fn told(sketch: &Sketch) -> (u64, i32, String) {
    let histogram = sketch.read().histogram();
    histogram.validate().unwrap();
    let buckets: Vec<_> =
        histogram.to_float().buckets().filter(|bucket| bucket.count > 0.0).map(|b| b.to_string()).collect();
    (histogram.count, histogram.schema, buckets.join(" "))
}

#[test]
fn observations_fall_into_buckets_of_both_sides() {
    let sketch = sketch(NativeOptions::new(2.0).unwrap());
    for value in [0.0, 1e-40, 1.0, 1.5, 2.0, 9.0, -3.0] {
        sketch.add(value, 1, None);
    }
    let (count, schema, buckets) = told(&sketch);
    assert_eq!((count, schema), (7, 0));
    assert_eq!(buckets, "[-4,-2):1 [-2.938735877055719e-39,2.938735877055719e-39]:2 (0.5,1]:1 (1,2]:2 (8,16]:1");
    let histogram = sketch.read().histogram();
    assert_eq!(histogram.sum, 10.5);
    assert_eq!(histogram.positive_spans, [ferula_model::Span { offset: 0, length: 5 }], "short gaps are written out");
}

#[test]
fn nan_and_infinities_are_counted() {
    let sketch = sketch(NativeOptions::default());
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
        sketch.add(value, 2, None);
    }
    let histogram = sketch.read().histogram();
    assert_eq!(histogram.count, 8);
    assert!(histogram.sum.is_nan());
    histogram.validate().unwrap();
}

#[test]
fn too_many_buckets_halve_the_resolution_and_lose_no_observation() {
    let sketch = sketch(NativeOptions::new(1.1).unwrap().buckets_max(4));
    for i in 1..=1000 {
        sketch.add(f64::from(i), 1, None);
    }
    let (count, schema, _) = told(&sketch);
    assert_eq!(count, 1000);
    assert_eq!(schema, -2, "1 to 1000 lie in three buckets that grow by 16 and one that ends at 1");
    assert_eq!(sketch.read().histogram().sum, 500_500.0);
}

#[test]
fn the_zero_bucket_is_widened_before_resolution_is_lost() {
    let options = NativeOptions::new(2.0).unwrap().buckets_max(3).zero_threshold_max(0.5);
    let sketch = sketch(options);
    for value in [0.3, 1.0, 2.0, -0.1] {
        sketch.add(value, 1, None);
    }
    assert_eq!(told(&sketch), (4, 0, "[-0.125,0.125]:1 (0.25,0.5]:1 (0.5,1]:1 (1,2]:1".to_owned()));
    sketch.add(4.0, 1, None);
    assert_eq!(told(&sketch), (5, 0, "[-0.5,0.5]:2 (0.5,1]:1 (1,2]:1 (2,4]:1".to_owned()));
    sketch.add(8.0, 1, None);
    let halved = (6, -1, "[-0.5,0.5]:2 (0.5,1]:1 (1,4]:2 (4,16]:1".to_owned());
    assert_eq!(told(&sketch), halved, "it may not be wider than the limit");
}

#[test]
fn a_reset_comes_before_everything_else_once_its_time_has_passed() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let options = NativeOptions::new(2.0).unwrap().buckets_max(2).reset_after(Duration::from_secs(60));
    let sketch = Sketch::new(options, 0, Some(clock.clone()));
    clock.advance(Duration::from_secs(60));
    for value in [1.0, 2.0, 4.0] {
        sketch.add(value, 1, None);
    }
    assert_eq!(told(&sketch), (1, 0, "(2,4]:1".to_owned()), "what made the reset is counted");
    assert_eq!(sketch.restarted(), Some(Timestamp(60_000)));

    clock.advance(Duration::from_secs(30));
    sketch.add(8.0, 1, None);
    sketch.add(16.0, 1, None);
    assert_eq!(told(&sketch).1, -1, "too early for another one");
    clock.advance(Duration::from_secs(30));
    assert_eq!(told(&sketch).0, 3, "what was counted is read before it is forgotten");
    assert_eq!(told(&sketch), (0, 0, String::new()), "the resolution is back");
    assert_eq!(sketch.restarted(), Some(Timestamp(120_000)));
}

#[test]
fn without_a_limit_the_table_grows() {
    let sketch = sketch(NativeOptions::new(1.003).unwrap().buckets_max(0));
    for i in 1..=5000 {
        sketch.add(f64::from(i), 1, None);
    }
    let (count, schema, _) = told(&sketch);
    assert_eq!((count, schema), (5000, 8));
}

#[test]
fn threads_lose_nothing_while_the_resolution_falls() {
    let sketch = Arc::new(Sketch::new(NativeOptions::new(1.1).unwrap().buckets_max(8), 3, None));
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let sketch = Arc::clone(&sketch);
            std::thread::spawn(move || {
                for i in 0..20_000 {
                    sketch.add(f64::from(i * 4 + thread) / 7.0, 1, Some((i % 3) as usize));
                    if i % 4096 == 0 {
                        sketch.read();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let reading = sketch.read();
    assert_eq!(reading.histogram().count, 80_000);
    assert_eq!(reading.classic().iter().sum::<u64>(), 80_000);
    reading.histogram().validate().unwrap();
    let buckets = reading.histogram().to_float().buckets().filter(|bucket| bucket.count > 0.0).count();
    assert!(buckets <= 9, "{buckets}");
}
