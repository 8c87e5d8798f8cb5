/**
 * A state of the model: bytes in one array, so that a copy and a comparison cost little. Numbers of nodes, records and messages
 * are small. Time is relative: what is kept is how old a promise is and how long one lasts, so that there are finitely many states.
 */

export interface Bounds {
  readonly nodes: number;
  /** Records that are ever written. */
  readonly writes: number;
  readonly crashes: number;
  readonly powerCuts: number;
  /** Connections that end with everything in them. */
  readonly linkCuts: number;
  /** Changes of the head whose outcome is not told: never made, made, or made later. */
  readonly lostReplies: number;
  /** Openings anew by the holder, which keep the set. */
  readonly reopenings: number;
  readonly releases: number;
  readonly epochs: number;
  /** Ticks of a term, and of what a candidate waits beyond it. The clock of node 0 is up to one tick ahead of the others'. */
  readonly termTicks: number;
  readonly marginTicks: number;
  /** Ends the exploration. */
  readonly statesMax: number;
}

/** Messages between two nodes, first in, first out. */
export const MESSAGE = { none: 0, renew: 1, promise: 2, record: 3, got: 4, whole: 5, release: 6 } as const;
export const ROLE = { replica: 0, holder: 1, taking: 2 } as const;
export const CAS = { none: 0, sent: 1, unknown: 2 } as const;
const QUEUE_MAX = 2;
const OPS_MAX = 2;
const MESSAGE_BYTES = 3;
/** Node or 255 (its process ended), kind, version that it was made upon, epoch, holder, set. */
const OP_BYTES = 6;
export const NOBODY = 255;
export const OFF = 255;
export const TAKE = 1;
export const SET = 2;

/** Where what is in the array. */
export class Layout {
  readonly bounds: Bounds;
  readonly length: number;
  readonly headEpoch = 0;
  readonly headHolder = 1;
  readonly headSet = 2;
  readonly headVersion = 3;
  readonly crashes = 4;
  readonly powerCuts = 5;
  readonly linkCuts = 6;
  readonly lostReplies = 7;
  readonly reopenings = 8;
  readonly releases = 9;
  readonly written = 10;
  /** Records, as bits, that somebody was told of, and that were flushed. */
  readonly seen = 11;
  readonly flushed = 12;
  /** What the clock of node 0 is ahead of the others'. */
  readonly skew = 13;
  // Of each node.
  readonly isUp: number;
  readonly hasOwnLog: number;
  readonly role: number;
  readonly logLength: number;
  readonly synced: number;
  readonly isWhole: number;
  readonly heard: number;
  /** The newest epoch that it has begun a log under, durably. */
  readonly noted: number;
  readonly reign: number;
  readonly set: number;
  readonly maybeSet: number;
  readonly joining: number;
  readonly promiseTicks: number;
  readonly released: number;
  readonly cas: number;
  readonly casBase: number;
  readonly casSet: number;
  // Of each node and other node.
  readonly lease: number;
  readonly received: number;
  readonly receivedSynced: number;
  readonly shipped: number;
  readonly target: number;
  // Lists.
  readonly logs: number;
  readonly queues: number;
  readonly ops: number;

  constructor(bounds: Bounds) {
    this.bounds = bounds;
    const { nodes } = bounds;
    let at = 14;
    const take = (count: number): number => (at += count) - count;
    this.isUp = take(nodes);
    this.hasOwnLog = take(nodes);
    this.role = take(nodes);
    this.logLength = take(nodes);
    this.synced = take(nodes);
    this.isWhole = take(nodes);
    this.heard = take(nodes);
    this.noted = take(nodes);
    this.reign = take(nodes);
    this.set = take(nodes);
    this.maybeSet = take(nodes);
    this.joining = take(nodes);
    this.promiseTicks = take(nodes);
    this.released = take(nodes);
    this.cas = take(nodes);
    this.casBase = take(nodes);
    this.casSet = take(nodes);
    this.lease = take(nodes * nodes);
    this.received = take(nodes * nodes);
    this.receivedSynced = take(nodes * nodes);
    this.shipped = take(nodes * nodes);
    this.target = take(nodes * nodes);
    this.logs = take(nodes * bounds.writes * 2);
    this.queues = take(nodes * nodes * QUEUE_MAX * MESSAGE_BYTES);
    this.ops = take(OPS_MAX * OP_BYTES);
    this.length = at;
  }
}

export type Message = readonly [kind: number, a: number, b: number];

export interface Op {
  readonly node: number;
  readonly kind: number;
  readonly base: number;
  readonly epoch: number;
  readonly holder: number;
  readonly set: number;
}

/** One state, with its layout: reading and changing what is listed in it. */
export class State {
  readonly l: Layout;
  readonly s: number[];

  constructor(layout: Layout, bytes: number[]) {
    this.l = layout;
    this.s = bytes;
  }

  copy(): State {
    return new State(this.l, this.s.slice());
  }

  get(at: number): number {
    return this.s[at] as number;
  }

  set(at: number, value: number): void {
    this.s[at] = value;
  }

  pair(base: number, node: number, other: number): number {
    return base + node * this.l.bounds.nodes + other;
  }

  /** Records of a node's log: which write, and in which incarnation it was written. */
  entry(node: number, index: number): { readonly write: number; readonly incarnation: number } {
    const at = this.l.logs + (node * this.l.bounds.writes + index) * 2;
    return { write: this.get(at), incarnation: this.get(at + 1) };
  }

  append(node: number, write: number, incarnation: number): void {
    const length = this.get(this.l.logLength + node);
    const at = this.l.logs + (node * this.l.bounds.writes + length) * 2;
    this.set(at, write);
    this.set(at + 1, incarnation);
    this.set(this.l.logLength + node, length + 1);
  }

  truncate(node: number, length: number): void {
    const { writes } = this.l.bounds;
    for (let i = length; i < writes; i++) {
      const at = this.l.logs + (node * writes + i) * 2;
      this.set(at, 0);
      this.set(at + 1, 0);
    }
    this.set(this.l.logLength + node, length);
    this.set(this.l.synced + node, Math.min(length, this.get(this.l.synced + node)));
  }

  /** The writes of the first `length` records, as bits. */
  writes(node: number, length: number): number {
    let bits = 0;
    for (let i = 0; i < length; i++) bits |= 1 << this.entry(node, i).write;
    return bits;
  }

  queue(from: number, to: number): Message[] {
    const messages: Message[] = [];
    for (let i = 0; i < QUEUE_MAX; i++) {
      const at = this.l.queues + this.queueAt(from, to, i);
      if (this.get(at) === MESSAGE.none) break;
      messages.push([this.get(at), this.get(at + 1), this.get(at + 2)]);
    }
    return messages;
  }

  private queueAt(from: number, to: number, index: number): number {
    return ((from * this.l.bounds.nodes + to) * QUEUE_MAX + index) * MESSAGE_BYTES;
  }

  setQueue(from: number, to: number, messages: readonly Message[]): void {
    for (let i = 0; i < QUEUE_MAX; i++) {
      const at = this.l.queues + this.queueAt(from, to, i);
      const message = messages[i];
      this.set(at, message?.[0] ?? MESSAGE.none);
      this.set(at + 1, message?.[1] ?? 0);
      this.set(at + 2, message?.[2] ?? 0);
    }
  }

  hasSpace(from: number, to: number): boolean {
    return this.get(this.l.queues + this.queueAt(from, to, QUEUE_MAX - 1)) === MESSAGE.none;
  }

  /** A `got` takes the place of one that has not arrived yet. */
  push(from: number, to: number, message: Message): void {
    const queue = this.queue(from, to);
    const last = queue.at(-1);
    if (message[0] === MESSAGE.got && last?.[0] === MESSAGE.got) queue.pop();
    queue.push(message);
    if (queue.length > QUEUE_MAX) throw new Error('a full queue');
    this.setQueue(from, to, queue);
  }

  ops(): Op[] {
    const ops: Op[] = [];
    for (let i = 0; i < OPS_MAX; i++) {
      const at = this.l.ops + i * OP_BYTES;
      if (this.get(at + 1) === 0) break;
      const [node, kind, base, epoch, holder, set] = this.s.slice(at, at + OP_BYTES);
      ops.push({ node, kind, base, epoch, holder, set } as Op);
    }
    return ops;
  }

  /** False when there is no space for them. */
  setOps(ops: readonly Op[]): boolean {
    if (ops.length > OPS_MAX) return false;
    for (let i = 0; i < OPS_MAX; i++) {
      const op = ops[i];
      const bytes = op === undefined ? [0, 0, 0, 0, 0, 0] : [op.node, op.kind, op.base, op.epoch, op.holder, op.set];
      for (let j = 0; j < OP_BYTES; j++) this.set(this.l.ops + i * OP_BYTES + j, bytes[j] as number);
    }
    return true;
  }

  /** A hash of 53 bits. */
  hash(): number {
    let a = 0x811c9dc5;
    let b = 0x9e3779b9;
    for (const byte of this.s) {
      a = Math.imul(a ^ byte, 0x01000193);
      b = Math.imul(b ^ (byte + 0x5f), 0x85ebca6b);
      b ^= b >>> 13;
    }
    a ^= a >>> 15;
    b = Math.imul(b ^ (b >>> 16), 0xc2b2ae35);
    return (a >>> 0) * 0x200000 + ((b >>> 0) & 0x1fffff);
  }
}
