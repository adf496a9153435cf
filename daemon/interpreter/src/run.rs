//! A run: one program in a slot. Sends the job, reads the output, and decides when and how the run ends.

use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::channel::SlotMessage;
use crate::control_group::ControlGroup;
use crate::memory;
use crate::outcome::{End, Ended, Exit};
use crate::output::{Kept, Progress, Sink, Stream, drain, read_stream};
use crate::slot::{Control, Output, Slot, SlotError, WaitingChild};
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
        let WaitingChild { control, output } = child;
        control.send_job(job)?;
        Ok(Run { slot, control, output })
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
        let Run { slot, control, output } = self;
        let progress = Progress::default();
        let program = async {
            let end = tokio::select! {
                ended = timeout(until.limit, ended(&control)) => match ended {
                    Ok(Ok(ended)) => End::Itself(ended),
                    Ok(Err(error)) => End::Lost(error),
                    Err(_) => End::Time(until.limit),
                },
                how = memory_exceeded(slot, share) => End::Memory(how),
                () = until.asked.cancelled() => End::Asked,
            };
            let crowded = is_crowded(slot, &end).await;
            // Background processes may hold the output open, so it ends only after they are killed. Without any, nobody waits for the kernel
            // to remove the slot: that wait made an empty program take 1.4 times as long, and 2.7 times when the next one followed at once.
            let is_over = matches!(end, End::Itself(_)) && slot.is_deserted();
            let gone = if is_over { Ok(()) } else { slot.kill().await };
            progress.over.cancel();
            gone.map(|()| (end, crowded))
        };
        let sink = |event| events.map(|events| Sink { events, event });
        let sinks = [sink(|stdout| Event::Stdout { stdout }), sink(|stderr| Event::Stderr { stderr })];
        let reading = async {
            tokio::join!(
                read_stream(output.stdout, &mut stdout, sinks[0], &progress),
                read_stream(output.stderr, &mut stderr, sinks[1], &progress)
            )
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
        let (end, ((), ())) = tokio::join!(program, streams);
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
async fn ended(control: &Control) -> Result<Ended, SlotError> {
    match control.next().await?.message {
        SlotMessage::Exited { status, cpu_milliseconds } => {
            let signal = status & 0x7f;
            let exit = if signal == 0 { Exit::Code((status >> 8) & 0xff) } else { Exit::Signal(signal) };
            Ok(Ended { exit, cpu_time: Duration::from_millis(cpu_milliseconds) })
        }
        message => Err(SlotError::of_message(message)),
    }
}

/// Whether a program that failed had reached its limit of processes. With a control group the kernel has counted the refusals. Without
/// one, the remaining tasks are counted, plus the program's first process, which has ended, and the one that was refused.
async fn is_crowded(slot: &Slot, end: &End) -> bool {
    let End::Itself(Ended { exit, .. }) = end else { return false };
    if *exit == Exit::Code(0) {
        return false;
    }
    if let Some(group) = &slot.group {
        return group.ran_out_of_processes();
    }
    let first = slot.first;
    let counted = tokio::task::spawn_blocking(move || memory::count_tasks(first)).await;
    matches!(counted, Ok(Ok(tasks)) if tasks + 2 >= slot.spawner.policy.limits.processes)
}

/// Waits until the slot exceeds its memory. While a control group bounds it, the kernel acts and this never ends.
async fn memory_exceeded(slot: &Slot, share: &Share) -> memory::Exceeded {
    while let Some(held) = slot.group.as_ref().and_then(ControlGroup::memory) {
        // The kernel bounds the sum of all slots as well.
        share.holds(held, true);
        sleep(GROUP_INTERVAL).await;
    }
    memory::exceeds(slot, share, slot.spawner.policy.limits.memory.0).await
}
