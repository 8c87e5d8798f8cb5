/**
 * The full feature phase of one connection (RFC 7143, 4.2, 11): requests in, responses out. What one read of the socket brought is handled
 * at once; most device calls are done when they return, so a batch of requests is answered by one write.
 *
 * States: running -> ending (no more requests are taken). Invariants: data go from what was received to where the command wants
 * them, once; a request is handled when its PDU is whole and its digests are right; nothing is read while the initiator does
 * not take its responses.
 */
import { toSgwError } from '../kit/index.ts';
import type { Arena, ByteQueue, Lent } from '../sockets/index.ts';
import type { TextExchange } from './discovery.ts';
import type { SessionLimits } from './limits.ts';
import { Liveness } from './liveness.ts';
import type { ConnectionParameters } from './negotiation.ts';
import { isImmediate, opcodeOf, PduReader } from './pdu.ts';
import { Requests } from './requests.ts';
import type { Responses } from './responses.ts';
import type { Session, SessionConnection } from './session.ts';
import type { TargetTasks } from './task-management.ts';
import { isBidirectional, parseDataOut, Task, type DataOut } from './task.ts';
import type { TaskSet } from './task-set.ts';
import { AT, COMMAND_FLAG, FINAL, NO_TAG, REJECT, REQUEST, SENSE } from './wire.ts';

export interface FullFeatureParts {
  readonly session: Session;
  /** Undefined in a discovery session. */
  readonly target: TargetTasks | undefined;
  readonly connection: SessionConnection;
  readonly parameters: ConnectionParameters;
  readonly text: TextExchange;
  readonly queue: ByteQueue;
  readonly limits: SessionLimits;
  /** Responses wait that the initiator does not take: stop reading. */
  readonly onFull: () => void;
  /** It takes them again. */
  readonly onRoom: () => void;
  /** The initiator does not keep to the protocol, or has logged out, which is `undefined`. */
  readonly onEnd: (reason: string | undefined) => void;
}

/** A PDU whose data segment is not all there yet. */
interface Incoming {
  readonly header: Buffer;
  /** Of the length of the data segment. */
  readonly target: Buffer;
  /** What the target is a part of; undefined: it has memory of its own. */
  readonly lent: Lent | undefined;
  /** Of a Data-Out PDU that a task waits for. */
  readonly data: { readonly out: DataOut; readonly task: Task; readonly isPlaced: boolean } | undefined;
}

const NOTHING = Buffer.alloc(0);
/** Reserved from there on (11.3.1). */
const ATTRIBUTE_MAX = 4;
/** Target transfer tag of our pings: it only has to be a valid one. */
const PING_TAG = 1;

export class FullFeature {
  readonly #parts: FullFeatureParts;
  readonly #reader: PduReader;
  readonly #responses: Responses;
  readonly #session: Session;
  readonly #tasks: TaskSet | undefined;
  readonly #payloads: Arena;
  readonly #liveness: Liveness;
  readonly #requests: Requests;
  #incoming: Incoming | undefined;
  #isFull = false;
  #isEnding = false;

  constructor(parts: FullFeatureParts) {
    const { session, connection, parameters, queue, limits } = parts;
    this.#parts = parts;
    this.#session = session;
    this.#tasks = session.tasks;
    this.#responses = connection.responses;
    this.#payloads = connection.payloads;
    this.#liveness = new Liveness(limits);
    this.#requests = new Requests({
      ...parts,
      onLeaving: () => {
        this.#isEnding = true;
      },
      onFault: (reason) => {
        this.#fail(reason);
      },
    });
    this.#reader = new PduReader(queue, parameters.maxReceiveLength);
    this.#reader.setDigests({ header: parameters.headerDigest, data: parameters.dataDigest });
  }

  /** Takes no more requests. */
  end(): void {
    this.#isEnding = true;
    this.#incoming?.lent?.buffer.release();
    this.#incoming = undefined;
  }

  /** Handles the requests that are in the queue. */
  consume(): void {
    try {
      let isMore = true;
      while (isMore) {
        // What was gathered up to the limit may leave at once, and make room.
        isMore = this.#takePdus();
        this.#tasks?.endBatch();
        this.#responses.flush();
        if (!this.#mayTake()) break;
      }
    } catch (error) {
      this.#responses.flush();
      this.#fail(toSgwError(error).message);
    }
    this.#tellFull();
  }

  /** The socket has sent what waited. */
  roomAgain(): void {
    if (this.#isFull) this.consume();
  }

  /** Takes PDUs until there is no whole one left, which is false, or no room for more responses, which is true. @throws FramingError */
  #takePdus(): boolean {
    while (!this.#isEnding) {
      const incoming = this.#incoming;
      if (incoming !== undefined) {
        const outcome = this.#reader.data(incoming.target);
        if (outcome === 'more') return false;
        this.#incoming = undefined;
        this.#taken(incoming, outcome === 'damaged');
        continue;
      }
      if (!this.#mayTake()) return true;
      const header = this.#reader.header();
      if (header === undefined) return false;
      this.#liveness.heard();
      const hasData = this.#reader.dataLength > 0 || opcodeOf(header) === REQUEST.dataOut;
      if (hasData) this.#incoming = this.#receive(Buffer.from(header));
      else this.#taken({ header, target: NOTHING, lent: undefined, data: undefined }, false);
    }
    return false;
  }

  /** To be called now and then: why the initiator is to be let go, if it is. It may be asked whether it is there. */
  check(nowMs: number): string | undefined {
    const { connection } = this.#parts;
    const owed = this.#tasks?.which((task) => task.connection === connection && task.isReceiving) ?? [];
    return this.#liveness.check(nowMs, owed.length > 0, () => {
      this.#responses.ping(PING_TAG);
      this.#responses.flush();
    });
  }

  #mayTake(): boolean {
    return this.#responses.mayGather(this.#parts.limits);
  }

  #tellFull(): void {
    const isFull = !this.#isEnding && !this.#mayTake();
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    if (isFull) this.#parts.onFull();
    else this.#parts.onRoom();
  }

  #fail(reason: string): void {
    this.end();
    this.#parts.onEnd(reason);
  }

  /** Finds a place for the data of a PDU. */
  #receive(header: Buffer): Incoming {
    const length = this.#reader.dataLength;
    const opcode = opcodeOf(header);
    if (opcode === REQUEST.dataOut) return this.#receiveData(header, length);
    if (opcode !== REQUEST.scsiCommand || this.#tasks === undefined)
      return { header, target: Buffer.allocUnsafe(length), lent: undefined, data: undefined };
    const lent = this.#payloads.take(Math.max(length, this.#payloadBytes(header, this.#tasks)));
    return { header, target: lent.bytes.subarray(0, length), lent, data: undefined };
  }

  /** How much a command's payload will be, where that may be held now. */
  #payloadBytes(header: Buffer, tasks: TaskSet): number {
    const flags = header[AT.flags] ?? 0;
    const isNext = isImmediate(header) || this.#session.isNext(header.readUInt32BE(AT.cmdSn));
    if (!isNext || !tasks.hasRoom || (flags & COMMAND_FLAG.write) === 0) return 0;
    return Math.min(header.readUInt32BE(20), this.#parts.limits.transferBytesMax);
  }

  #receiveData(header: Buffer, length: number): Incoming {
    const task = this.#tasks?.find(header.readUInt32BE(AT.initiatorTaskTag));
    if (task?.connection === this.#parts.connection && task.isReceiving) {
      this.#liveness.dataCame();
      const out = parseDataOut(header, length);
      task.check(out);
      const place = task.place(length);
      const lent = task.payload;
      if (place !== undefined && lent !== undefined) {
        // The task may end before its data are there.
        lent.buffer.hold();
        return { header, target: place, lent, data: { out, task, isPlaced: true } };
      }
      const scratch = this.#payloads.take(length);
      return { header, target: scratch.bytes, lent: scratch, data: { out, task, isPlaced: false } };
    }
    const scratch = this.#payloads.take(length);
    return { header, target: scratch.bytes, lent: scratch, data: undefined };
  }

  /** A PDU is whole. Its header is good until this returns. */
  #taken(incoming: Incoming, isDamaged: boolean): void {
    const { header, target, lent } = incoming;
    const opcode = opcodeOf(header);
    if (opcode === REQUEST.dataOut) {
      this.#dataOut(incoming, isDamaged);
    } else if (isDamaged) {
      // The request is not there; at error recovery level 0 it does not come again (7.8).
      lent?.buffer.release();
      this.#responses.reject(REJECT.dataDigest, header);
    } else if (opcode === REQUEST.scsiCommand) {
      this.#command(header, lent, target.length);
    } else {
      this.#requests.handle(opcode, header, target);
    }
  }

  #dataOut({ header, target, lent, data }: Incoming, isDamaged: boolean): void {
    if (isDamaged) this.#responses.reject(REJECT.dataDigest, header);
    // Data of a command that has ended, such as by an abort, come still.
    if (data !== undefined && !data.task.isEnded) {
      if (isDamaged) data.task.fail(SENSE.crc);
      // A task that was begun meanwhile has other memory.
      const isInPlace = data.isPlaced && data.task.payload === lent;
      const isWhole = data.task.received(data.out, isInPlace ? undefined : target);
      if (isWhole) this.#tasks?.proceed(data.task);
    }
    lent?.buffer.release();
  }

  /** 11.3 */
  #command(header: Buffer, payload: Lent | undefined, immediateBytes: number): void {
    const session = this.#session;
    const tasks = this.#tasks;
    if (tasks === undefined) {
      payload?.buffer.release();
      this.#responses.reject(REJECT.protocolError, header);
      return;
    }
    const task = new Task(this.#parts.connection, header, payload);
    if (task.isImmediate) {
      const isMuch = tasks.immediates >= this.#parts.limits.immediateMax;
      if (this.#accept(task, immediateBytes, isMuch ? REJECT.immediateCommand : undefined)) tasks.start(task);
    } else if (session.isNext(task.cmdSn)) {
      session.advance();
      if (this.#accept(task, immediateBytes, undefined)) tasks.start(task);
      session.handOn();
    } else if (session.isInWindow(task.cmdSn) && !session.isHeld(task.cmdSn)) {
      this.#commandEarly(task, tasks, immediateBytes);
    } else task.releasePayload();
  }

  /** A command whose turn has not come. */
  #commandEarly(task: Task, tasks: TaskSet, immediateBytes: number): void {
    task.own();
    const isGood = this.#accept(task, immediateBytes, undefined);
    if (isGood) tasks.hold(task);
    this.#session.inOrder(task.cmdSn, () => {
      if (isGood) tasks.start(task);
      this.#responses.schedule();
    });
  }

  /** Whether a command can be one; it is rejected otherwise. */
  #accept(task: Task, immediateBytes: number, refusal: number | undefined): boolean {
    const reason = refusal ?? this.#refusal(task);
    if (reason === undefined) {
      task.begin(immediateBytes, this.#session.parameters);
      return true;
    }
    task.releasePayload();
    this.#responses.reject(reason, task.header);
    return false;
  }

  #refusal(task: Task): number | undefined {
    const flags = task.header[AT.flags] ?? 0;
    if (this.#tasks?.find(task.itt) !== undefined) return REJECT.taskInProgress;
    if (task.itt === NO_TAG || (flags & COMMAND_FLAG.attributes) > ATTRIBUTE_MAX) return REJECT.invalidField;
    if ((flags & FINAL) === 0 && !task.isWrite) return REJECT.protocolError;
    return isBidirectional(task) ? REJECT.commandNotSupported : undefined;
  }
}
