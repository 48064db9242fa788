//! Who gets room first, who waits, and who has to give way.

use super::fill::FILL_BYTES_PER_S_MIN;
use super::*;
use std::future::Future;
use tokio::task::JoinHandle;

/// What a large stripe takes here; an eighth of the budget is the small ones'.
const STRIPE: usize = 12 << 20;
const WAIT: Duration = Duration::from_secs(20);

/// Room for so many large stripes.
fn budget(stripes: usize) -> Budget {
    Budget::new(
        (stripes * STRIPE * SMALL_SHARE).div_ceil(SMALL_SHARE - 1),
        WAIT,
    )
}

/// Asks, and returns when it waits or has it.
async fn ask(budget: &Budget, bytes: usize, turn: Turn) -> JoinHandle<Result<Permit, EngineError>> {
    let before = budget.waiting();
    let task = {
        let budget = budget.clone();
        tokio::spawn(async move { budget.grant(bytes, turn).await })
    };
    while !task.is_finished() && budget.waiting() == before {
        tokio::task::yield_now().await;
    }
    task
}

async fn granted(task: JoinHandle<Result<Permit, EngineError>>) -> Permit {
    task.await.unwrap().unwrap()
}

/// A body of one stripe after the other, each read at once and written in a second.
async fn upload(budget: Budget, stripes: usize) -> bool {
    for n in 0..stripes {
        let turn = if n == 0 { Turn::New } else { Turn::Begun };
        let Ok(permit) = budget.grant(STRIPE, turn).await else {
            return false;
        };
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(permit);
        });
    }
    true
}

async fn at<F: Future>(of: F) -> (F::Output, Instant) {
    (of.await, Instant::now())
}

#[tokio::test(start_paused = true)]
async fn what_is_granted_comes_back_and_is_given_in_order() {
    let budget = budget(1);
    let whole = budget.available();
    let first = granted(ask(&budget, STRIPE, Turn::New).await).await;
    let second = ask(&budget, STRIPE, Turn::New).await;
    let third = ask(&budget, STRIPE, Turn::New).await;
    drop(first);
    drop(granted(second).await);
    drop(granted(third).await);
    assert_eq!(budget.available(), whole);
    // More than all there is waits for all there is.
    drop(budget.grant(usize::MAX / 2, Turn::New).await.unwrap());
    assert_eq!(budget.available(), whole);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_is_told_and_leaves_no_trace() {
    let budget = budget(1);
    let whole = budget.available();
    let held = budget.grant(STRIPE, Turn::New).await.unwrap();
    let asked = Instant::now();
    let late = budget.grant(STRIPE, Turn::New).await;
    assert!(matches!(late, Err(EngineError::SlowDown)), "{late:?}");
    assert_eq!(asked.elapsed(), WAIT);
    // What it has written would be lost with it.
    let asked = Instant::now();
    assert!(budget.grant(STRIPE, Turn::Begun).await.is_err());
    assert_eq!(asked.elapsed(), WAIT * BEGUN_WAIT_TIMES);
    let gone = ask(&budget, STRIPE, Turn::New).await;
    gone.abort();
    assert!(gone.await.is_err());
    drop(held);
    assert_eq!((budget.available(), budget.waiting()), (whole, 0));
}

#[tokio::test(start_paused = true)]
async fn a_grant_nobody_takes_goes_to_the_next() {
    let budget = budget(1);
    let whole = budget.available();
    let held = budget.grant(STRIPE, Turn::New).await.unwrap();
    let second = ask(&budget, STRIPE, Turn::New).await;
    let third = ask(&budget, STRIPE, Turn::New).await;
    drop(held);
    // Told, and gone before it looked.
    second.abort();
    drop(granted(third).await);
    assert_eq!(budget.available(), whole);
}

#[tokio::test(start_paused = true)]
async fn begun_uploads_go_before_new_ones() {
    let budget = budget(1);
    let held = budget.grant(STRIPE, Turn::New).await.unwrap();
    let new = ask(&budget, STRIPE, Turn::New).await;
    let begun = ask(&budget, STRIPE, Turn::Begun).await;
    drop(held);
    let begun = granted(begun).await;
    assert!(!new.is_finished());
    drop(begun);
    drop(granted(new).await);
}

/// In one order for all, those that begin in the last second would take a minute more.
#[tokio::test(start_paused = true)]
async fn of_many_at_once_those_that_begin_finish_soon() {
    let budget = budget(10);
    let began = Instant::now();
    let puts = (0..500).map(|_| tokio::spawn(upload(budget.clone(), 3)));
    let puts = futures::future::join_all(puts).await;
    let done = puts.into_iter().filter(|put| *put.as_ref().unwrap());
    // Ten stripes a second for as long as new ones wait, three to each.
    let stripes = 10 * usize::try_from(WAIT.as_secs()).unwrap();
    assert!(done.count() >= stripes / 3);
    assert!(began.elapsed() <= WAIT + Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn long_uploads_do_not_keep_new_ones_out() {
    let budget = budget(4);
    for _ in 0..8 {
        tokio::spawn(upload(budget.clone(), 1_000));
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = Instant::now();
    let (new, came) = at(budget.grant(STRIPE, Turn::New)).await;
    assert!(new.is_ok());
    assert!(
        came - asked >= AGED && came - asked < AGED * 2,
        "{:?}",
        came - asked
    );
}

#[tokio::test(start_paused = true)]
async fn new_ones_wait_where_too_many_have_begun() {
    for (begun, gets_in) in [(BEGUN_WAITING_MAX, true), (BEGUN_WAITING_MAX + 1, false)] {
        let budget = budget(1);
        let mut held = budget.grant(STRIPE, Turn::New).await.unwrap();
        let new = ask(&budget, STRIPE, Turn::New).await;
        tokio::time::sleep(AGED).await;
        budget.state.lock().lanes[LARGE].begun_in_a_row = BEGUN_IN_A_ROW;
        let mut others = Vec::new();
        for _ in 0..begun {
            others.push(ask(&budget, STRIPE, Turn::Begun).await);
        }
        drop(held);
        if gets_in {
            held = granted(new).await;
        } else {
            held = granted(others.remove(0)).await;
            assert!(!new.is_finished());
        }
        drop((held, others));
    }
}

#[tokio::test(start_paused = true)]
async fn small_stripes_do_not_wait_for_large_ones() {
    let budget = budget(1);
    let _held = budget.grant(STRIPE, Turn::New).await.unwrap();
    let waits = ask(&budget, STRIPE, Turn::New).await;
    let asked = Instant::now();
    let small = budget.grant(SMALL_BYTES_MAX, Turn::New).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    let one_more = ask(&budget, SMALL_BYTES_MAX + 1, Turn::New).await;
    assert!(!one_more.is_finished(), "one past small");
    drop(small);
    assert!(!waits.is_finished());
    one_more.abort();
}

#[tokio::test(start_paused = true)]
async fn small_stripes_take_what_nobody_waits_for() {
    let budget = budget(1);
    let mut held = Vec::new();
    let whole = budget.available();
    for _ in 0..whole / SMALL_BYTES_MAX - 1 {
        held.push(granted(ask(&budget, SMALL_BYTES_MAX, Turn::New).await).await);
    }
    assert!(budget.available() < 2 * SMALL_BYTES_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_gives_way_once_somebody_waits() {
    let budget = budget(1);
    let permit = budget.grant(STRIPE, Turn::New).await.unwrap();
    let filling = budget.filling(&permit);
    filling.got(1 << 20);
    let alone = tokio::time::timeout(Duration::from_mins(1), filling.must_give_way()).await;
    assert!(alone.is_err(), "nobody waits");
    let asked = Instant::now();
    let next = ask(&budget, STRIPE, Turn::New).await;
    filling.must_give_way().await;
    assert_eq!(asked.elapsed(), PATIENCE);
    drop((filling, permit));
    drop(granted(next).await);
}

#[tokio::test(start_paused = true)]
async fn the_slowest_gives_way_and_no_more_than_needed() {
    let budget = budget(3);
    let mut fills = Vec::new();
    for kib_a_second in [FILL_BYTES_PER_S_MIN / 1024, 40, 20] {
        let permit = budget.grant(STRIPE, Turn::New).await.unwrap();
        let filling = Arc::new(budget.filling(&permit));
        let ticking = Arc::clone(&filling);
        tokio::spawn(async move {
            loop {
                ticking.got(usize::try_from(kib_a_second * 1024).unwrap());
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        fills.push((permit, filling));
    }
    let told = |n: usize| fills[n].1.told();
    let _one = ask(&budget, STRIPE, Turn::New).await;
    tokio::time::sleep(PATIENCE + LOOK_PERIOD * 3).await;
    assert_eq!([told(0), told(1), told(2)], [false, false, true]);
    let _two = ask(&budget, STRIPE, Turn::New).await;
    let _three = ask(&budget, STRIPE, Turn::New).await;
    tokio::time::sleep(PATIENCE + LOOK_PERIOD * 3).await;
    assert_eq!(
        [told(0), told(1), told(2)],
        [false, true, true],
        "fast enough stays"
    );
}
