//! Tasks in memory and on disk, by this daemon and another one.

use rmcp::model::ContentBlock;

use super::*;

fn running(result: impl Future<Output = CallToolResult> + Send + 'static) -> Running {
    Box::pin(async { Some(result.await) })
}

fn said(text: &str) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

async fn ended(tasks: &Tasks, id: &str) -> DetailedTask {
    let mut changes = tasks.changes(id).unwrap();
    while !tasks.get(id).await.unwrap().task.status.is_terminal() {
        changes.changed().await.unwrap();
    }
    tasks.get(id).await.unwrap()
}

#[tokio::test]
async fn a_task_says_what_is_printed_and_ends_with_its_result_which_outlives_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let tasks = Tasks::open(Some(directory.path().join("tasks")));
    let (line, last_line) = watch::channel("10 %".to_owned());
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let task = tasks
        .adopt(running(async move { wait.await.map_or_else(|_| said("gone"), |()| said("42")) }), last_line)
        .await
        .ok()
        .unwrap();
    line.send_replace("20 %".to_owned());
    assert_eq!(tasks.get(&task.task_id).await.unwrap().task.status_message.as_deref(), Some("20 %"));
    assert_eq!(tasks.running(), 1);
    go.send(()).unwrap();
    let end = ended(&tasks, &task.task_id).await;
    assert!(matches!(&end.payload, TaskPayload::Completed { result } if result["content"][0]["text"] == "42"));
    let next = Tasks::open(Some(directory.path().join("tasks")));
    assert_eq!(next.get(&task.task_id).await, Some(end));
}

/// A record as another daemon writes it, with its owner.
fn leave(directory: &std::path::Path, id: &str, created: &str, owner: Option<Owner>) {
    let task = Task::new(id, TaskStatus::Working, created, created).with_ttl_ms(TIME_TO_LIVE.as_millis() as u64);
    Records::open(Some(directory.to_owned())).write(&Record { task, error: None, owner });
}

#[tokio::test]
async fn what_nobody_runs_any_more_is_failed_and_what_is_old_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    leave(directory.path(), "dead", &now(), None);
    leave(directory.path(), "old", "2020-01-01T00:00:00Z", None);
    let tasks = Tasks::open(Some(directory.path().to_owned()));
    let found = tasks.get("dead").await.unwrap();
    assert!(matches!(&found.payload, TaskPayload::Failed { error } if error["code"] == -32603), "{found:?}");
    assert!(found.task.status_message.unwrap().contains("daemon ended"));
    assert_eq!(tasks.get("old").await, None);
}

#[tokio::test]
async fn what_another_daemon_still_runs_works_on_and_ends_as_that_one_says() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    for id in ["completes", "is lost"] {
        leave(directory.path(), id, &now(), Owner::of(other.id()));
    }
    let tasks = Tasks::open(Some(directory.path().to_owned()));
    assert_eq!(tasks.get("completes").await.unwrap().task.status, TaskStatus::Working);
    assert_eq!(tasks.cancel("completes"), Err(NotCancelled::Elsewhere));
    assert_eq!(tasks.running(), 0, "this daemon need not wait for it");
    let records = Records::open(Some(directory.path().to_owned()));
    let mut record = records.read("completes").unwrap();
    record.task.status = TaskStatus::Completed;
    records.write_result("completes", &object(&said("42")).unwrap());
    records.write(&record);
    let end = ended(&tasks, "completes").await;
    assert!(matches!(&end.payload, TaskPayload::Completed { result } if result["content"][0]["text"] == "42"));
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(ended(&tasks, "is lost").await.task.status, TaskStatus::Failed);
}

#[tokio::test]
async fn a_daemon_that_leaves_says_that_its_tasks_end() {
    let directory = tempfile::tempdir().unwrap();
    let tasks = Tasks::open(Some(directory.path().to_owned()));
    let task = tasks.adopt(running(std::future::pending()), watch::channel(String::new()).1).await.ok().unwrap();
    tasks.clone().give_up().await;
    let end = tasks.get(&task.task_id).await.unwrap();
    assert!(end.task.status_message.unwrap().contains("daemon was stopped"));
    assert_eq!(tasks.running(), 0);
    let next = Tasks::open(Some(directory.path().to_owned()));
    assert_eq!(next.get(&task.task_id).await.unwrap().task.status, TaskStatus::Failed);
}

#[tokio::test]
async fn results_are_on_disk_and_those_in_memory_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let large = "x".repeat(3 << 20);
    for (place, known) in [(Some(directory.path().to_owned()), 20), (None, 10)] {
        let tasks = Tasks::open(place);
        let mut ids = Vec::new();
        for _ in 0..20 {
            let result = said(&large);
            let task = tasks.adopt(running(async { result }), watch::channel(String::new()).1).await.ok().unwrap();
            ended(&tasks, &task.task_id).await;
            ids.push(task.task_id);
        }
        assert!(tasks.entries().values().map(TaskEntry::memory_bytes).sum::<usize>() <= MAX_MEMORY_BYTES);
        assert_eq!(ids.iter().filter(|id| tasks.knows(id)).count(), known);
        let last = tasks.get(&ids[19]).await.unwrap();
        assert!(matches!(&last.payload, TaskPayload::Completed { result } if result["content"][0]["text"] == large));
    }
}

#[tokio::test]
async fn a_cancelled_task_drops_its_run_and_a_finished_one_stays() {
    let tasks = Tasks::open(None);
    let line = watch::channel(String::new()).1;
    let (dropped, told) = tokio::sync::oneshot::channel::<()>();
    let run = running(async move {
        let _dropped_with_this = dropped;
        std::future::pending().await
    });
    let task = tasks.adopt(run, line.clone()).await.ok().unwrap();
    assert_eq!(tasks.cancel("other"), Err(NotCancelled::Unknown));
    assert_eq!(tasks.cancel(&task.task_id), Ok(()));
    assert_eq!(ended(&tasks, &task.task_id).await.payload, TaskPayload::Cancelled);
    told.await.unwrap_err();
    let done = tasks.adopt(running(async { said("1") }), line).await.ok().unwrap();
    ended(&tasks, &done.task_id).await;
    assert_eq!(tasks.cancel(&done.task_id), Ok(()));
    assert_eq!(tasks.get(&done.task_id).await.unwrap().task.status, TaskStatus::Completed);
}

#[tokio::test]
async fn there_are_so_many_and_no_more() {
    let tasks = Tasks::open(None);
    let line = watch::channel(String::new()).1;
    for _ in 0..MAX_TASKS {
        assert!(tasks.adopt(running(std::future::pending()), line.clone()).await.is_ok());
    }
    assert!(tasks.adopt(running(std::future::pending()), line).await.is_err());
}
