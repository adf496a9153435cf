//! A run: one program in a slot. Sends the job, reads the output, and decides when and how the run ends.

use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::channel::SlotMessage;
use crate::memory;
use crate::outcome::{End, Exit};
use crate::output::{Kept, Progress, Sink, Stream, drain, read_stream};
use crate::printing::Printing;
use crate::slot::{Control, Output, Processes, Slot, SlotError, WaitingChild};
use crate::total::Share;
use crate::whole::STORE_DEADLINE;
use crate::wire::Event;

/// How often the memory of a control group is read.
const GROUP_INTERVAL: Duration = Duration::from_millis(250);

/// When a program is to end at the latest.
#[derive(Clone, Copy)]
pub struct Until<'a> {
    pub limit: Duration,
    /// Cancelled when somebody asks for the end.
    pub asked: &'a CancellationToken,
}

pub struct Run<'a> {
    slot: &'a Slot,
    control: Control,
    output: Output,
    processes: Processes,
}

/// A run that has ended: nothing of the program can run or write any more.
pub struct Finished {
    pub end: End,
    /// The program failed, and it had reached its limit of processes.
    pub crowded: bool,
    pub stdout: Stream,
    pub stderr: Stream,
}

impl<'a> Run<'a> {
    /// Sends the job to the child, which starts the program. Its files must be in the workspace by now.
    pub fn start(slot: &'a Slot, child: WaitingChild, job: &[u8]) -> Result<Self, SlotError> {
        let WaitingChild { control, output, processes } = child;
        control.send_job(job)?;
        Ok(Run { slot, control, output, processes })
    }

    /// What the program prints, for a caller that sets a deadline. The program lives as long as its slot.
    pub fn stdout(&mut self) -> &mut pipe::Receiver {
        &mut self.output.stdout
    }

    /// Waits until the program ends by itself, exceeds its memory, is to end, or the slot dies. Then kills what is left of
    /// it. Meanwhile reads the output into the streams, and sends it to `events`.
    pub async fn until_end(
        self,
        share: &Share,
        [mut stdout, mut stderr]: [Stream; 2],
        until: Until<'_>,
        events: Option<&Sender<Event>>,
    ) -> Result<Finished, SlotError> {
        let Run { slot, control, output, processes } = self;
        let progress = Progress::default();
        let printed = CancellationToken::new();
        let program = async {
            // Nobody waits for the kernel to take a program's memory apart, or to remove its slot, if nothing of the program can run any more. The
            // slot's removal made an empty program take 1.4 times as long, and 2.7 times when the next one followed at once.
            let (end, is_over) = tokio::select! {
                code = last_code(&processes, &printed) => (End::Itself(Exit::Code(code)), true),
                ended = timeout(until.limit, ended(&control)) => match ended {
                    Ok(Ok(exit)) => (End::Itself(exit), processes.have_ended()),
                    Ok(Err(error)) => (End::Lost(error), false),
                    Err(_) => (End::Time(until.limit), false),
                },
                how = memory_exceeded(slot, share) => (End::Memory(how), false),
                () = until.asked.cancelled() => (End::Asked, false),
            };
            let crowded = is_crowded(slot, &end, is_over).await;
            // Background processes may hold the output open, so it ends only after they are killed.
            let gone = if is_over { Ok(()) } else { slot.kill().await };
            progress.over.cancel();
            gone.map(|()| (end, crowded))
        };
        let sink = |event| events.map(|events| Sink { events, event });
        let sinks = [sink(|stdout| Event::Stdout { stdout }), sink(|stderr| Event::Stderr { stderr })];
        let reading = async {
            tokio::join!(
                read_stream(Printing::from(output.stdout), &mut stdout, sinks[0], &progress),
                read_stream(Printing::from(output.stderr), &mut stderr, sinks[1], &progress)
            );
            printed.cancel();
        };
        let lateness = async {
            progress.over.cancelled().await;
            sleep(STORE_DEADLINE).await;
            progress.late.cancel();
            std::future::pending().await
        };
        let streams = async {
            tokio::select! {
                read = reading => read,
                never = lateness => never,
            }
        };
        let (end, ()) = tokio::join!(program, streams);
        let (end, crowded) = end?;
        Ok(Finished { end, crowded, stdout, stderr })
    }

    /// Waits until the program ends by itself, then kills everything else in the slot. Returns stdout and stderr, each at most `most`
    /// bytes long. The caller sets a deadline.
    pub async fn output(self, most: usize) -> Result<[String; 2], SlotError> {
        let (mut stdout, mut stderr) = (Kept::new(most), Kept::new(most));
        let program = async {
            let ended = ended(&self.control).await;
            self.slot.kill().await?;
            ended
        };
        let output = self.output;
        let (ended, (), ()) =
            tokio::join!(program, drain(output.stdout, &mut stdout), drain(output.stderr, &mut stderr));
        ended.map(|_| [stdout.into_text(), stderr.into_text()])
    }
}

/// Waits for the end of the program's first process.
async fn ended(control: &Control) -> Result<Exit, SlotError> {
    match control.next().await?.message {
        SlotMessage::Exited { status, cpu_milliseconds } => Ok(match status & 0x7f {
            0 => Exit::Code((status >> 8) & 0xff),
            number => Exit::Signal { number, cpu_time: Duration::from_millis(cpu_milliseconds) },
        }),
        message => Err(SlotError::of_message(message)),
    }
}

/// Waits until the program's output has ended and the last of its processes is ending. Returns the first one's exit code. If the kernel does not
/// tell in time, this never ends.
async fn last_code(processes: &Processes, printed: &CancellationToken) -> i32 {
    printed.cancelled().await;
    processes.ended().await;
    match processes.exit_code() {
        Some(code) => code,
        None => std::future::pending().await,
    }
}

/// Whether a program that failed had reached its limit of processes. With a control group the kernel has counted the refusals. Without
/// one, the remaining tasks are counted, plus the program's first process, which has ended, and the one that was refused.
async fn is_crowded(slot: &Slot, end: &End, is_over: bool) -> bool {
    let End::Itself(exit) = end else { return false };
    if *exit == Exit::Code(0) {
        return false;
    }
    if let Some(group) = &slot.group {
        return group.ran_out_of_processes();
    }
    let first = slot.first;
    // Where all is over, only the slot's first process is left.
    let remaining =
        if is_over { Ok(Ok(1)) } else { tokio::task::spawn_blocking(move || memory::count_tasks(first)).await };
    matches!(remaining, Ok(Ok(tasks)) if tasks + 2 >= slot.spawner.policy.limits.processes)
}

/// Waits until the slot exceeds its memory. While a control group bounds it, the kernel acts and this never ends.
async fn memory_exceeded(slot: &Slot, share: &Share) -> memory::Exceeded {
    while let Some(group) = &slot.group {
        sleep(GROUP_INTERVAL).await;
        let Some(held) = group.memory() else { break };
        // The kernel bounds the sum of all slots as well.
        share.holds(held, true);
    }
    memory::exceeds(slot, share, slot.spawner.policy.limits.memory.0).await
}
