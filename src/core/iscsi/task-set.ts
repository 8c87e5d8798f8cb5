/**
 * The SCSI commands of one session, from their turn to their response.
 *
 * A command is held (it came before its turn), waiting (for memory, or an ordered one), receiving (its data come), running (the device server has it), or
 * ended. Invariants: commands go to the device server in the order of CmdSN, but for those without data, which do not wait for memory;
 * an ordered command runs alone;
 * what runs or receives holds no more than the limits and one command; a command that was aborted gets no response, and has ended
 * when `abort` resolves.
 */
import type { InFlight } from '../sockets/index.ts';
import type { SessionLimits } from './limits.ts';
import type { SessionParameters } from './negotiation.ts';
import { STATUS, type LogicalUnit, type Nexus, type ScsiResult } from './scsi/index.ts';
import type { Task, TaskConnection } from './task.ts';
import { NO_TAG, plus, SENSE } from './wire.ts';

export interface TaskSetParts {
  readonly unit: Pick<LogicalUnit, 'prepare' | 'refusalNow'>;
  readonly nexus: Nexus;
  readonly parameters: SessionParameters;
  readonly limits: SessionLimits;
  /** Of all sessions of the server. */
  readonly inFlight: InFlight;
  /** Of all sessions: what came unasked of commands that wait. */
  readonly held: InFlight;
  /** Responses of all connections that were not sent yet. */
  readonly unsent: InFlight;
}

/** Commands of one batch that end with the same promise: a group commit. */
interface Group {
  readonly promise: Promise<ScsiResult>;
  readonly tasks: Task[];
}

const NOTHING = Buffer.alloc(0);
/** Initiators send it again, and fewer at once (SAM-5, 5.3.1). */
const FULL: ScsiResult = { status: STATUS.taskSetFull, dataInBytes: 0 };
const INTERNAL: ScsiResult = { status: STATUS.checkCondition, sense: SENSE.internal, dataInBytes: 0 };

export class TaskSet {
  readonly #parts: TaskSetParts;
  readonly #tasks = new Map<number, Task>();
  readonly #stopWaiting: () => void;
  #waiting: Task[] = [];
  #bytes = 0;
  #immediates = 0;
  #ordered = 0;
  #nextTtt = 1;
  #group: Group | undefined;
  /** Not aborted, so good for other tasks. */
  readonly #controllers: AbortController[] = [];
  /** For status. */
  commands = 0;

  constructor(parts: TaskSetParts) {
    this.#parts = parts;
    this.#stopWaiting = parts.inFlight.whenRoom(() => {
      this.#pump();
    });
  }

  /** Of the commands that have a response to come. */
  get size(): number {
    return this.#tasks.size;
  }

  /** Those that were sent for immediate delivery. */
  get immediates(): number {
    return this.#immediates;
  }

  find(itt: number): Task | undefined {
    return this.#tasks.get(itt);
  }

  /** Those that the filter takes. */
  which(filter: (task: Task) => boolean): Task[] {
    return [...this.#tasks.values()].filter(filter);
  }

  /** Of a command whose turn has not come: it is known by its tag, and its data may come. */
  hold(task: Task): void {
    if (!task.isKnown) this.#keepUnasked(task);
    this.#know(task);
  }

  /** Keeps what came unasked and what will, or nothing of it. */
  #keepUnasked(task: Task): void {
    const { held, parameters } = this.#parts;
    if (task.payload === undefined && !task.isReceiving) return;
    if (held.hasRoom) {
      if (task.isReceiving) task.grow(Math.min(task.expectedBytes, parameters.firstBurstLength));
      task.heldBytes = task.payload?.bytes.length ?? 0;
      held.add(task.heldBytes);
    } else {
      task.refusal = FULL;
      task.releasePayload();
    }
  }

  #letGo(task: Task): void {
    this.#parts.held.remove(task.heldBytes);
    task.heldBytes = 0;
  }

  /** It is a command's turn. Its header is good until this returns. */
  start(task: Task): void {
    if (task.isEnded) return;
    this.commands += 1;
    // What moves no data is not held up by the others: initiators look whether a path works by such commands.
    const mayPass = this.#ordered === 0 && !task.isOrdered && task.expectedBytes === 0;
    if (mayPass || (this.#waiting.length === 0 && this.#mayRun(task))) {
      this.#run(task);
      return;
    }
    this.hold(task);
    this.#waiting.push(task);
  }

  /** What was handled until now was one batch. */
  endBatch(): void {
    this.#group = undefined;
  }

  /** Whether one more command may run. */
  get hasRoom(): boolean {
    const { limits, inFlight, unsent } = this.#parts;
    const bytesMax = unsent.hasRoom ? limits.bytesMax : Math.min(limits.scarceBytesMax, limits.bytesMax);
    return this.#bytes < bytesMax && inFlight.hasRoom;
  }

  /** Whether there is room for a command, and it is its turn among ordered ones (SAM-5, 8.6). */
  #mayRun(task: Task): boolean {
    if (task.expectedBytes > 0 && !this.hasRoom) return false;
    if (!task.isOrdered && this.#ordered === 0) return true;
    const running = this.which(({ isStarted }) => isStarted);
    return task.isOrdered ? running.length === 0 : !running.some(({ isOrdered }) => isOrdered);
  }

  /** Runs commands that waited. */
  #pump(): void {
    for (let task = this.#waiting[0]; task !== undefined; task = this.#waiting[0]) {
      if (!task.isEnded && !this.#mayRun(task)) return;
      this.#waiting.shift();
      this.#run(task);
      task.connection.responses.schedule();
      this.endBatch();
    }
  }

  #run(task: Task): void {
    if (task.isEnded) return;
    task.isStarted = true;
    this.#letGo(task);
    if (task.failure === undefined && task.refusal === undefined) {
      try {
        this.#prepare(task);
      } catch {
        // Such as a lack of memory. Nobody waits for those that are run later.
        task.refusal = INTERNAL;
      }
    }
    this.#proceed(task);
  }

  #prepare(task: Task): void {
    const { unit, nexus, limits } = this.#parts;
    const sendBytes = task.isWrite ? task.expectedBytes : 0;
    const prepared = unit.prepare(nexus, task.lun, task.cdb, sendBytes);
    if ('status' in prepared) {
      task.refusal = prepared;
      return;
    }
    task.command = prepared;
    task.neededBytes = Math.min(prepared.dataOutBytes, sendBytes, limits.transferBytesMax);
    if (task.neededBytes > 0) task.grow(task.neededBytes);
  }

  /** A sequence of a task's data is whole. */
  proceed(task: Task): void {
    if (!task.isStarted || task.isEnded) return;
    const { unit, nexus } = this.#parts;
    task.refusal ??= unit.refusalNow(nexus, task.lun, task.cdb);
    this.#proceed(task);
    this.#pump();
  }

  #proceed(task: Task): void {
    const isGood = task.failure === undefined && task.refusal === undefined;
    if (isGood && task.askedBytes < task.neededBytes && !task.expects(NO_TAG)) {
      // Its connection reads on before the answer, so what it needs is kept.
      this.#know(task);
      this.#charge(task);
      this.#ask(task);
    }
    if (task.isReceiving) {
      this.#know(task);
      this.#charge(task);
    } else if (task.failure !== undefined)
      this.#finish(task, { status: STATUS.checkCondition, sense: task.failure, dataInBytes: 0 });
    else if (task.refusal !== undefined) this.#finish(task, task.refusal);
    else this.#execute(task);
  }

  #ask(task: Task): void {
    const { maxBurstLength, maxOutstandingR2t } = this.#parts.parameters;
    while (task.askedBytes < task.neededBytes && task.r2tsOutstanding < maxOutstandingR2t)
      task.ask(this.#takeTtt(), Math.min(maxBurstLength, task.neededBytes - task.askedBytes));
  }

  #takeTtt(): number {
    const ttt = this.#nextTtt;
    this.#nextTtt = plus(ttt, 1) === NO_TAG ? 0 : plus(ttt, 1);
    return ttt;
  }

  #execute(task: Task): void {
    const { command } = task;
    if (command === undefined) return;
    const controller = this.#controllers.pop() ?? new AbortController();
    task.abort = controller;
    task.isExecuting = true;
    let outcome: ScsiResult | Promise<ScsiResult>;
    try {
      outcome = command.run(task.dataOut, this.#dataIn(task, command.dataInBytes), controller.signal);
    } catch {
      outcome = INTERNAL;
    }
    task.isExecuting = false;
    if (outcome instanceof Promise) this.#wait(task, outcome);
    else this.#finish(task, outcome);
  }

  /** Memory for what a command reads: behind room for a header where one PDU will do. */
  #dataIn(task: Task, bytes: number): Buffer {
    const wanted = task.isRead ? Math.min(bytes, task.expectedBytes, this.#parts.limits.transferBytesMax) : 0;
    task.dataInBytes = wanted;
    if (wanted === 0) return NOTHING;
    const { responses, segmentMax, pool } = task.connection;
    if (wanted <= segmentMax && wanted <= this.#parts.parameters.maxBurstLength) {
      const room = responses.reserveData(wanted);
      task.room = room;
      const at = room.start + responses.dataAt;
      return room.buffer.bytes.subarray(at, at + wanted);
    }
    task.dataIn = pool.get(wanted);
    return task.dataIn.bytes.subarray(0, wanted);
  }

  #wait(task: Task, promise: Promise<ScsiResult>): void {
    task.isRunning = true;
    if (task.room !== undefined) task.connection.responses.defer(task.room);
    this.#know(task);
    this.#charge(task);
    const group = this.#group;
    if (group?.promise === promise) {
      group.tasks.push(task);
      return;
    }
    const started: Group = { promise, tasks: [task] };
    this.#group = started;
    promise.then(
      (result) => {
        this.#settled(started, result);
      },
      () => {
        this.#settled(started, INTERNAL);
      },
    );
  }

  #settled({ tasks }: Group, result: ScsiResult): void {
    for (const task of tasks) {
      this.#finish(task, result);
      task.connection.responses.schedule();
    }
    this.#pump();
  }

  #finish(task: Task, result: ScsiResult): void {
    this.#forget(task);
    if (!task.isAborted) {
      respond(task, result, this.#parts.parameters.maxBurstLength);
      if (task.abort !== undefined) this.#controllers.push(task.abort);
    }
    task.ended();
  }

  #know(task: Task): void {
    if (task.isKnown) return;
    task.isKnown = true;
    task.own();
    this.#tasks.set(task.itt, task);
    if (task.isImmediate) this.#immediates += 1;
    if (task.isOrdered) this.#ordered += 1;
  }

  #forget(task: Task): void {
    if (!task.isKnown) return;
    task.isKnown = false;
    this.#tasks.delete(task.itt);
    if (task.isImmediate) this.#immediates -= 1;
    if (task.isOrdered) this.#ordered -= 1;
    this.#letGo(task);
    this.#bytes -= task.chargedBytes;
    this.#parts.inFlight.remove(task.chargedBytes);
    task.chargedBytes = 0;
  }

  #charge(task: Task): void {
    const bytes = (task.payload?.bytes.length ?? 0) + task.dataInBytes + (task.command?.workBytes ?? 0);
    const more = bytes - task.chargedBytes;
    if (more === 0) return;
    task.chargedBytes = bytes;
    this.#bytes += more;
    this.#parts.inFlight.add(more);
  }

  /** Ends commands without a response; those that run are told to stop. Resolves when all have ended. */
  async abort(tasks: readonly Task[]): Promise<void> {
    const ends: Promise<void>[] = [];
    for (const task of tasks) {
      if (task.isEnded) continue;
      task.isAborted = true;
      if (task.isRunning) {
        ends.push(endOf(task));
        task.abort?.abort();
      } else {
        this.#forget(task);
        task.ended();
      }
    }
    this.#pump();
    await Promise.all(ends);
  }

  /** Ends the commands of a connection: those that run are answered, the others are not. Resolves when all have ended. */
  async settle(connection: TaskConnection): Promise<void> {
    const tasks = this.which((task) => task.connection === connection);
    await this.abort(tasks.filter((task) => !task.isRunning));
    await Promise.all(tasks.filter((task) => !task.isEnded).map(endOf));
  }

  /** The session has ended, and all its commands. */
  close(): void {
    this.#stopWaiting();
  }
}

async function endOf(task: Task): Promise<void> {
  await new Promise<void>((resolve) => {
    task.whenEnded(resolve);
  });
}

/** The response to a command, behind its data or with them. */
function respond(task: Task, result: ScsiResult, burstMax: number): void {
  const { itt, room, dataIn, isRunning } = task;
  const { responses, segmentMax } = task.connection;
  const { status, sense } = result;
  const outcome = { itt, status, residual: residualOf(task, result) };
  const length = sense === undefined ? Math.min(result.dataInBytes, task.dataInBytes) : 0;
  if (length > 0 && room !== undefined) {
    responses.dataWithStatus(room, length, outcome, isRunning);
    return;
  }
  if (length > 0 && dataIn !== undefined) {
    responses.dataSequences(dataIn, length, { segmentMax, burstMax }, itt, outcome);
    return;
  }
  // What a call that failed later still writes to must not be used again.
  if (!isRunning) {
    if (room !== undefined) responses.drop(room);
    dataIn?.release();
  }
  responses.scsi(outcome, task.r2tSn, sense);
}

/** 11.4.5: what the command had for the initiator, or took of it, less what the initiator expected. */
function residualOf(task: Task, { sense, dataInBytes }: ScsiResult): number {
  if (task.isWrite) return (task.command?.dataOutBytes ?? 0) - task.expectedBytes;
  if (!task.isRead) return Math.max(dataInBytes, task.command?.dataOutBytes ?? 0);
  return (sense === undefined ? dataInBytes : 0) - task.expectedBytes;
}
