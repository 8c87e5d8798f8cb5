/**
 * The protocol of a group as a model: every step that nodes, network, clocks and store can take from a state, decided by the rules
 * of the engine (src/core/replication/rules.ts), and what must hold in every state. What it leaves out: what is uploaded (a store
 * that has nothing of the log yet is the harder case), and which of several steps is likely.
 *
 * A pause of a process needs no step of its own: nothing says that a node does anything while time goes on.
 */
import type * as rules from '../../../src/core/replication/rules.ts';
import {
  CAS,
  MESSAGE,
  NOBODY,
  OFF,
  ROLE,
  SET,
  TAKE,
  type Bounds,
  type Layout,
  type Message,
  type Op,
  type State,
} from './model-state.ts';

export type Rules = typeof rules;
/** `isFault`: not a step of the protocol. */
export type Emit = (name: string, state: State, isFault?: boolean) => void;

/** What is broken outside of the rules, for the table of mutations. */
export interface Habits {
  /** A restarted replica waits as if it had promised at its start. */
  readonly waitsAfterStart: boolean;
  /** A change of the set whose outcome is not known counts either way. */
  readonly countsUnknown: boolean;
  /** A release ends the holder's serving before it is sent. */
  readonly stopsBeforeRelease: boolean;
  /** A replica that joins is waited for before its end is looked at. */
  readonly waitsForJoining: boolean;
  /** A loss of power makes a log not whole. */
  readonly noticesPowerLoss: boolean;
  /** A restarted replica has heard of the reigns that its log names. */
  readonly remembersEpoch: boolean;
}

export const GOOD_HABITS: Habits = {
  waitsAfterStart: true,
  countsUnknown: true,
  stopsBeforeRelease: true,
  waitsForJoining: true,
  noticesPowerLoss: true,
  remembersEpoch: true,
};

const idOf = (node: number): string => `g${String(node)}`;
const nodeOf = (id: string): number => Number(id.slice(1));
const bitsOf = (ids: readonly string[]): number => ids.reduce((bits, id) => bits | (1 << nodeOf(id)), 0);

export class Model {
  readonly layout: Layout;
  readonly bounds: Bounds;
  readonly #rules: Rules;
  readonly #habits: Habits;
  readonly #nodes: readonly number[];
  readonly #times: { readonly termMs: number; readonly marginMs: number; readonly renewMs: number };

  constructor(layout: Layout, rulesUsed: Rules, habits: Habits = GOOD_HABITS) {
    this.layout = layout;
    this.bounds = layout.bounds;
    this.#rules = rulesUsed;
    this.#habits = habits;
    this.#nodes = Array.from({ length: this.bounds.nodes }, (_, i) => i);
    this.#times = { termMs: this.bounds.termTicks, marginMs: this.bounds.marginTicks, renewMs: 1 };
  }

  /** Node 0 holds the volume, all are in the set and have promised just now. */
  initial(state: State): State {
    const { l } = state;
    const all = (1 << this.bounds.nodes) - 1;
    state.set(l.headEpoch, 1);
    state.set(l.headVersion, 2);
    state.set(l.casBase, 2);
    state.set(l.headSet, all);
    for (const node of this.#nodes) {
      state.set(l.isUp + node, 1);
      state.set(l.isWhole + node, 1);
      state.set(l.heard + node, 1);
      for (const other of this.#nodes) state.set(state.pair(l.shipped, node, other), OFF);
      if (node === 0) continue;
      state.set(l.promiseTicks + node, this.#promise());
      state.set(state.pair(l.shipped, 0, node), 0);
    }
    state.set(l.role, ROLE.holder);
    state.set(l.hasOwnLog, 1);
    state.set(l.reign, 1);
    state.set(l.set, all);
    return state;
  }

  #promise(): number {
    return this.#rules.promiseUntil(0, this.#times);
  }

  // What a node knows, as the rules are asked.

  #members(set: number): string[] {
    return this.#nodes.filter((node) => (set & (1 << node)) !== 0).map(idOf);
  }

  #counted(state: State, node: number): number[] {
    const { l } = state;
    const sets = [this.#members(state.get(l.set + node))];
    if (this.#habits.countsUnknown) sets.push(this.#members(state.get(l.maybeSet + node)));
    const joining = this.#habits.waitsForJoining ? this.#members(state.get(l.joining + node)) : [];
    return [...this.#rules.countedMembers(idOf(node), sets, joining)].map(nodeOf);
  }

  #leaseUntil(state: State, node: number): number {
    const sent = this.#counted(state, node).map((other) => -state.get(state.pair(state.l.lease, node, other)));
    return this.#rules.leaseUntil(sent, this.#times);
  }

  #secured(state: State, node: number, of: number): number {
    const { l } = state;
    const own = { last: state.get(l.logLength + node), synced: state.get(l.synced + node) };
    const isDropping = (state.get(l.set + node) & ~state.get(l.casSet + node)) !== 0;
    const length = this.#rules.ownEnd(own, state.get(l.cas + node) !== CAS.none && isDropping);
    const all = this.#counted(state, node).map((other) => state.get(state.pair(of, node, other)));
    return this.#rules.securedUpTo(length, all);
  }

  /** Whether a holder may tell of its first `sequence` records. */
  #mayTell(state: State, node: number, sequence: number, of: number): boolean {
    const secured = this.#secured(state, node, of);
    return this.#rules.mayTell({ now: 0, leaseUntil: this.#leaseUntil(state, node), sequence, secured });
  }

  #listener(state: State, node: number): rules.Listener {
    const { l } = state;
    return {
      newestEpoch: state.get(l.heard + node),
      isTakingOver: state.get(l.role + node) === ROLE.taking,
      hasReplicaLog: state.get(l.hasOwnLog + node) === 0,
    };
  }

  #isHolder(state: State, node: number): boolean {
    return state.get(state.l.isUp + node) === 1 && state.get(state.l.role + node) === ROLE.holder;
  }

  #head(state: State): rules.HeadView {
    const { l } = state;
    const holder = state.get(l.headHolder);
    return {
      epoch: state.get(l.headEpoch),
      holder: holder === NOBODY ? null : idOf(holder),
      inSync: this.#members(state.get(l.headSet)),
    };
  }

  /** What must hold; undefined when it does. */
  violation(state: State): string | undefined {
    const serving = this.#nodes.filter(
      (node) => this.#isHolder(state, node) && this.#mayTell(state, node, 0, state.l.received),
    );
    return serving.length > 1 ? `nodes ${serving.join(' and ')} may both serve` : undefined;
  }

  /** Somebody answers reads and acknowledges everything that is written. */
  goesOn(state: State): boolean {
    const { l } = state;
    return this.#nodes.some(
      (node) => this.#isHolder(state, node) && this.#mayTell(state, node, state.get(l.logLength + node), l.received),
    );
  }

  /**
   * A take-over that came when its candidate had ended, and has lost its power since: it is alone in the set, and the holder before,
   * which is not, may have more. That is the operator's to decide.
   */
  needsOperator(state: State): boolean {
    const { l } = state;
    const holder = state.get(l.headHolder);
    const isAlone = state.get(l.headSet) === 1 << holder;
    return isAlone && state.get(l.hasOwnLog + holder) === 0 && state.get(l.isWhole + holder) === 0;
  }

  /** All steps from a state. A rule that does not hold on the way throws. */
  steps(state: State, emit: Emit): void {
    this.#tick(state, true, emit);
    this.#tick(state, false, emit);
    for (const node of this.#nodes) {
      if (state.get(state.l.isUp + node) === 0) {
        this.#restart(state, node, emit);
        continue;
      }
      this.#fail(state, node, emit);
      const role = state.get(state.l.role + node);
      if (role === ROLE.holder) this.#hold(state, node, emit);
      else if (role === ROLE.replica) this.#follow(state, node, emit);
      this.#settle(state, node, emit);
      for (const other of this.#nodes) if (other !== node) this.#deliver(state, other, node, emit);
    }
    this.#store(state, emit);
  }

  /**
   * What happens at once where it can: telling is no step of its own, since who was told more can only be hurt more, and syncing
   * is none when no power will be cut any more. What a node would need when it is started again, it does not when it never will be.
   * @throws when what is told breaks a rule
   */
  atOnce(state: State): void {
    const { l } = state;
    if (state.get(l.powerCuts) >= this.bounds.powerCuts) {
      for (const node of this.#nodes) {
        state.set(l.synced + node, state.get(l.logLength + node));
        for (const other of this.#nodes)
          state.set(state.pair(l.receivedSynced, node, other), state.get(state.pair(l.received, node, other)));
      }
    }
    if (state.get(l.powerCuts) >= this.bounds.powerCuts && state.get(l.crashes) >= this.bounds.crashes)
      for (const node of this.#nodes) if (state.get(l.isUp + node) === 1) state.set(l.noted + node, 0);
    for (const node of this.#nodes) if (this.#isHolder(state, node)) this.#tell(state, node);
    this.#renumber(state);
  }

  /** Versions are kept as how far behind the head they are; what is two behind is as good as any older one. */
  #renumber(state: State): void {
    const { l } = state;
    const ahead = state.get(l.headVersion) - 2;
    const renumbered = (base: number): number => Math.max(0, base - ahead);
    state.set(l.headVersion, 2);
    for (const node of this.#nodes)
      if (state.get(l.role + node) !== ROLE.replica)
        state.set(l.casBase + node, renumbered(state.get(l.casBase + node)));
    // A late change that can't be made any more is none.
    const ops = state.ops().filter(({ node, base }) => node !== NOBODY || base === ahead + 2);
    state.setOps(ops.map((op) => ({ ...op, base: renumbered(op.base) })));
  }

  // Time.

  /** Of node 0, or of all others. */
  #tick(state: State, ofFirst: boolean, emit: Emit): void {
    const { l } = state;
    const skew = state.get(l.skew) + (ofFirst ? 1 : -1);
    if (skew < 0 || skew > 1) return;
    const next = state.copy();
    next.set(l.skew, skew);
    for (const node of this.#nodes) if ((node === 0) === ofFirst) this.#age(next, node);
    emit(`tick ${ofFirst ? '0' : 'others'}`, next);
  }

  #age(state: State, node: number): void {
    const { l } = state;
    const promise = state.get(l.promiseTicks + node);
    if (promise > 0) state.set(l.promiseTicks + node, promise - 1);
    const older = (age: number): number => Math.min(age + 1, this.bounds.termTicks);
    for (const other of this.#nodes) {
      if (other === node) continue;
      if (this.#isHolder(state, node)) {
        const at = state.pair(l.lease, node, other);
        state.set(at, older(state.get(at)));
      }
      this.#ageMessages(state, node, other, MESSAGE.renew, older);
      this.#ageMessages(state, other, node, MESSAGE.promise, older);
    }
  }

  #ageMessages(state: State, from: number, to: number, kind: number, older: (age: number) => number): void {
    const queue = state.queue(from, to);
    if (queue.some((message) => message[0] === kind))
      state.setQueue(
        from,
        to,
        queue.map((m) => (m[0] === kind ? [m[0], m[1], older(m[2])] : m)),
      );
  }

  // Faults.

  #fail(state: State, node: number, emit: Emit): void {
    const { l } = state;
    if (state.get(l.crashes) < this.bounds.crashes) {
      const next = state.copy();
      next.set(l.crashes, next.get(l.crashes) + 1);
      this.#end(next, node);
      emit(`crash ${node}`, next, true);
    }
    if (state.get(l.powerCuts) < this.bounds.powerCuts) {
      for (let length = state.get(l.synced + node); length <= state.get(l.logLength + node); length++) {
        const next = state.copy();
        next.set(l.powerCuts, next.get(l.powerCuts) + 1);
        this.#end(next, node);
        next.truncate(node, length);
        next.set(l.synced + node, length);
        if (this.#habits.noticesPowerLoss) next.set(l.isWhole + node, 0);
        this.#excuse(next);
        emit(`power cut ${node}, keeps ${length}`, next, true);
      }
    }
    if (state.get(l.linkCuts) >= this.bounds.linkCuts) return;
    for (const other of this.#nodes) {
      if (other <= node || (!this.#isLinked(state, node, other) && !this.#isLinked(state, other, node))) continue;
      const next = state.copy();
      next.set(l.linkCuts, next.get(l.linkCuts) + 1);
      this.#unlink(next, node, other);
      next.setQueue(node, other, []);
      next.setQueue(other, node, []);
      emit(`cut ${node}-${other}`, next, true);
    }
  }

  #isLinked(state: State, holder: number, other: number): boolean {
    return state.get(state.pair(state.l.shipped, holder, other)) !== OFF;
  }

  #unlink(state: State, a: number, b: number): void {
    for (const [node, other] of [
      [a, b],
      [b, a],
    ] as const) {
      state.set(state.pair(state.l.shipped, node, other), OFF);
      state.set(state.pair(state.l.target, node, other), 0);
      state.set(state.l.joining + node, state.get(state.l.joining + node) & ~(1 << other));
    }
  }

  /** The process ends: what it kept in memory is gone, what it sent may still arrive. */
  #end(state: State, node: number): void {
    const { l } = state;
    for (const other of this.#nodes) {
      if (other === node) continue;
      this.#unlink(state, node, other);
      state.setQueue(other, node, []);
    }
    state.set(l.isUp + node, 0);
    this.#forget(state, node);
    state.set(l.heard + node, 0);
    state.setOps(state.ops().map((op) => (op.node === node ? { ...op, node: NOBODY } : op)));
  }

  #forget(state: State, node: number): void {
    const { l } = state;
    for (const at of [
      l.role,
      l.reign,
      l.set,
      l.maybeSet,
      l.joining,
      l.promiseTicks,
      l.released,
      l.cas,
      l.casBase,
      l.casSet,
    ])
      state.set(at + node, 0);
    for (const other of this.#nodes) {
      for (const at of [l.lease, l.received, l.receivedSynced, l.target]) state.set(state.pair(at, node, other), 0);
      if (other !== node) state.set(state.pair(l.shipped, node, other), OFF);
    }
  }

  /** What was never flushed may be lost when all that vouch for it have lost their power: the set, and a holder that goes on. */
  #excuse(state: State): void {
    const { l } = state;
    let kept = state.get(l.flushed);
    const set = state.get(l.headSet);
    for (const node of this.#nodes)
      if ((set & (1 << node)) !== 0 || this.#isHolder(state, node))
        kept |= state.writes(node, state.get(l.logLength + node));
    state.set(l.seen, state.get(l.seen) & kept);
  }

  #restart(state: State, node: number, emit: Emit): void {
    const { l } = state;
    const next = state.copy();
    next.set(l.isUp + node, 1);
    if (next.get(l.hasOwnLog + node) === 0 && this.#habits.waitsAfterStart)
      next.set(l.promiseTicks + node, this.#promise());
    if (this.#habits.remembersEpoch) next.set(l.heard + node, this.#logEpoch(next, node));
    emit(`restart ${node}`, next);
  }

  /** The newest that the log names: of its last record, or under which the node has begun it as its own. */
  #logEpoch(state: State, node: number): number {
    const { l } = state;
    const length = state.get(l.logLength + node);
    const ofRecords = length === 0 ? 0 : state.entry(node, length - 1).incarnation;
    return Math.max(state.get(l.noted + node), ofRecords);
  }

  // The holder.

  #hold(state: State, node: number, emit: Emit): void {
    this.#write(state, node, emit);
    for (const other of this.#nodes) {
      if (other === node) continue;
      this.#connect(state, node, other, emit);
      if (this.#isLinked(state, node, other)) this.#send(state, node, other, emit);
      this.#changeSet(state, node, other, emit);
      this.#release(state, node, other, emit);
    }
    this.#reopen(state, node, emit);
    if (state.get(state.l.headEpoch) > state.get(state.l.reign + node)) {
      const next = state.copy();
      this.#demote(next, node);
      emit(`demote ${node}`, next);
    }
  }

  #write(state: State, node: number, emit: Emit): void {
    const { l } = state;
    const written = state.get(l.written);
    if (written < this.bounds.writes) {
      const next = state.copy();
      next.append(node, written, next.get(l.reign + node));
      next.set(l.written, written + 1);
      emit(`write ${node}`, next);
    }
    if (state.get(l.synced + node) < state.get(l.logLength + node)) {
      const next = state.copy();
      next.set(l.synced + node, next.get(l.logLength + node));
      emit(`sync ${node}`, next);
    }
  }

  /** Acknowledges what may be, answers a flush, answers a read of everything. */
  #tell(state: State, node: number): void {
    const { l } = state;
    const length = state.get(l.logLength + node);
    const acknowledged = this.#newest(state, node, l.received);
    if (acknowledged < 0) return;
    const seen = state.get(l.seen) | state.writes(node, acknowledged);
    if (acknowledged === length) {
      const missing = seen & ~state.writes(node, length);
      if (missing !== 0) throw new Error(`node ${node} answers a read without writes ${missing.toString(2)}`);
    }
    const flushed = Math.min(this.#newest(state, node, l.receivedSynced), state.get(l.synced + node));
    if (flushed > 0) state.set(l.flushed, state.get(l.flushed) | (state.writes(node, flushed) & seen));
    state.set(l.seen, seen);
  }

  /** The newest record that may be told of; -1 when nothing may. */
  #newest(state: State, node: number, of: number): number {
    for (let sequence = state.get(state.l.logLength + node); sequence >= 0; sequence--)
      if (this.#mayTell(state, node, sequence, of)) return sequence;
    return -1;
  }

  #connect(state: State, node: number, other: number, emit: Emit): void {
    const { l } = state;
    if (this.#isLinked(state, node, other) || state.get(l.isUp + other) === 0) return;
    const reign = state.get(l.reign + node);
    if (state.get(l.role + other) === ROLE.holder) return;
    if (!this.#rules.mayReceive(reign, this.#listener(state, other))) return;
    const length = state.get(l.logLength + other);
    const last = length === 0 ? null : `i${String(state.entry(other, length - 1).incarnation)}`;
    const { from, anew } = this.#rules.continuation(
      { incarnation: last, firstSequence: 1, received: length },
      {
        incarnations: this.#incarnations(state, node),
        lastSequence: state.get(l.logLength + node),
        firstSequence: 1,
        uploadedSequence: 0,
      },
    );
    const next = state.copy();
    if (anew) {
      next.truncate(other, from - 1);
      // Of an empty one nothing is dropped.
      if (length > 0) next.set(l.isWhole + other, 0);
    }
    this.#isPrefix(next, node, other);
    // A connection takes the place of any other of the pair.
    this.#unlink(next, node, other);
    next.setQueue(node, other, []);
    next.setQueue(other, node, []);
    next.set(next.pair(l.shipped, node, other), from - 1);
    next.set(next.pair(l.received, node, other), from - 1);
    next.set(next.pair(l.receivedSynced, node, other), next.get(l.synced + other));
    next.set(l.heard + other, reign);
    // A member whose log is not whole has to catch up as one that joins.
    const isMember = (next.get(l.set + node) & (1 << other)) !== 0;
    if (isMember && next.get(l.isWhole + other) === 0) this.#beginJoining(next, node, other);
    emit(`connect ${node}-${other}`, next);
  }

  #incarnations(state: State, node: number): { incarnation: string; firstSequence: number }[] {
    const list: { incarnation: string; firstSequence: number }[] = [];
    const length = state.get(state.l.logLength + node);
    for (let i = 0; i < length; i++) {
      const incarnation = `i${String(state.entry(node, i).incarnation)}`;
      if (list.at(-1)?.incarnation !== incarnation) list.push({ incarnation, firstSequence: i + 1 });
    }
    const current = `i${String(state.get(state.l.reign + node))}`;
    if (list.at(-1)?.incarnation !== current) list.push({ incarnation: current, firstSequence: length + 1 });
    return list;
  }

  #isPrefix(state: State, node: number, other: number): void {
    const length = state.get(state.l.logLength + other);
    for (let i = 0; i < length; i++) {
      if (state.entry(node, i).write !== state.entry(other, i).write || i >= state.get(state.l.logLength + node))
        throw new Error(`the log of replica ${other} is not a beginning of that of holder ${node}`);
    }
  }

  #beginJoining(state: State, node: number, other: number): void {
    state.set(state.l.joining + node, state.get(state.l.joining + node) | (1 << other));
    state.set(state.pair(state.l.target, node, other), state.get(state.l.logLength + node));
  }

  #send(state: State, node: number, other: number, emit: Emit): void {
    const { l } = state;
    const shippedAt = state.pair(l.shipped, node, other);
    const shipped = state.get(shippedAt);
    const reign = state.get(l.reign + node);
    const isCounted = this.#counted(state, node).includes(other);
    const isAsked =
      state.queue(node, other).some(([kind]) => kind === MESSAGE.renew) ||
      state.queue(other, node).some(([kind]) => kind === MESSAGE.promise);
    if (!state.hasSpace(node, other)) return;
    if (isCounted && !isAsked && state.get(state.pair(l.lease, node, other)) > 0) {
      const next = state.copy();
      next.push(node, other, [MESSAGE.renew, reign, 0]);
      emit(`renew ${node}-${other}`, next);
    }
    if (shipped < state.get(l.logLength + node)) {
      const next = state.copy();
      const { write, incarnation } = state.entry(node, shipped);
      next.push(node, other, [MESSAGE.record, reign, write * 16 + incarnation]);
      next.set(shippedAt, shipped + 1);
      emit(`send ${node}-${other}`, next);
    }
    this.#join(state, node, other, emit);
  }

  #join(state: State, node: number, other: number, emit: Emit): void {
    const { l } = state;
    const bit = 1 << other;
    const isMember = (state.get(l.set + node) & bit) !== 0;
    if ((state.get(l.joining + node) & bit) === 0) {
      if (isMember) return;
      const next = state.copy();
      this.#beginJoining(next, node, other);
      // Before: nothing is known of a promise.
      next.set(next.pair(l.lease, node, other), this.bounds.termTicks);
      emit(`begin joining ${node}-${other}`, next);
      return;
    }
    const joining = {
      target: state.get(state.pair(l.target, node, other)),
      received: state.get(state.pair(l.received, node, other)),
      synced: state.get(state.pair(l.receivedSynced, node, other)),
      promisedAt: -state.get(state.pair(l.lease, node, other)),
    };
    if (!this.#rules.mayJoin(0, joining, this.#times)) return;
    const next = state.copy();
    next.push(node, other, [MESSAGE.whole, next.get(l.reign + node), 0]);
    if (isMember) next.set(l.joining + node, next.get(l.joining + node) & ~bit);
    else if (next.get(l.cas + node) !== CAS.none || !this.#sendSet(next, node, next.get(l.set + node) | bit)) return;
    emit(`join ${node}-${other}`, next);
  }

  #sendSet(state: State, node: number, set: number): boolean {
    const { l } = state;
    const base = state.get(l.casBase + node);
    state.set(l.cas + node, CAS.sent);
    state.set(l.casSet + node, set);
    state.set(l.maybeSet + node, state.get(l.maybeSet + node) | set);
    const reign = state.get(l.reign + node);
    return state.setOps([...state.ops(), { node, kind: SET, base, epoch: reign, holder: node, set }]);
  }

  #changeSet(state: State, node: number, other: number, emit: Emit): void {
    const { l } = state;
    const set = state.get(l.set + node);
    if ((set & (1 << other)) === 0 || state.get(l.cas + node) !== CAS.none) return;
    let told = state.get(l.logLength + node);
    while (told > 0 && (state.get(l.seen) & (1 << state.entry(node, told - 1).write)) === 0) told -= 1;
    if (!this.#rules.mayDrop({ told, synced: state.get(l.synced + node) })) return;
    const next = state.copy();
    if (this.#sendSet(next, node, set & ~(1 << other))) emit(`shrink ${node}: ${other} leaves`, next);
  }

  /** A planned take-over: the replica has everything, the holder stops. */
  #release(state: State, node: number, other: number, emit: Emit): void {
    const { l } = state;
    if (state.get(l.releases) >= this.bounds.releases || !this.#isLinked(state, node, other)) return;
    const length = state.get(l.logLength + node);
    if (state.get(state.pair(l.receivedSynced, node, other)) < length) return;
    if (state.get(l.cas + node) !== CAS.none || !state.hasSpace(node, other)) return;
    const next = state.copy();
    const reign = state.get(l.reign + node);
    next.set(l.releases, next.get(l.releases) + 1);
    next.push(node, other, [MESSAGE.release, reign, length]);
    if (this.#habits.stopsBeforeRelease) {
      const shipped = next.get(next.pair(l.shipped, node, other));
      this.#forget(next, node);
      // The connection stays; nothing is sent by it any more.
      if (shipped === OFF) throw new Error('not linked');
    }
    emit(`release ${node}-${other}`, next);
  }

  #reopen(state: State, node: number, emit: Emit): void {
    const { l } = state;
    const reign = state.get(l.reign + node);
    if (state.get(l.reopenings) >= this.bounds.reopenings || state.get(l.headEpoch) !== reign) return;
    if (state.get(l.cas + node) !== CAS.none || reign >= this.bounds.epochs) return;
    const next = state.copy();
    next.set(l.reopenings, next.get(l.reopenings) + 1);
    next.set(l.headEpoch, reign + 1);
    next.set(l.headVersion, next.get(l.headVersion) + 1);
    next.set(l.casBase + node, next.get(l.headVersion));
    next.set(l.reign + node, reign + 1);
    next.set(l.heard + node, reign + 1);
    for (const other of this.#nodes) if (other !== node) next.set(next.pair(l.shipped, node, other), OFF);
    emit(`reopen ${node}`, next);
  }

  /** Somebody else holds the volume: the log becomes a replica's. */
  #demote(state: State, node: number): void {
    const { l } = state;
    this.#forget(state, node);
    state.set(l.hasOwnLog + node, 0);
    state.set(l.heard + node, state.get(l.headEpoch));
    state.setOps(state.ops().map((op) => (op.node === node ? { ...op, node: NOBODY } : op)));
  }

  // A replica, or one that was the holder.

  #follow(state: State, node: number, emit: Emit): void {
    const { l } = state;
    const head = this.#head(state);
    const hasOwnLog = state.get(l.hasOwnLog + node) === 1;
    if (hasOwnLog && (head.holder !== idOf(node) || !this.#rules.mayBeHolder(head, idOf(node)))) {
      const next = state.copy();
      this.#demote(next, node);
      emit(`give up ${node}`, next);
    }
    if (state.get(l.synced + node) < state.get(l.logLength + node)) {
      const next = state.copy();
      next.set(l.synced + node, next.get(l.logLength + node));
      for (const holder of this.#nodes) {
        if (holder === node || !this.#isLinked(next, holder, node)) continue;
        const last = next.queue(node, holder).at(-1);
        if (!next.hasSpace(node, holder) && last?.[0] !== MESSAGE.got) return;
        next.push(node, holder, [MESSAGE.got, next.get(l.logLength + node), next.get(l.synced + node)]);
      }
      emit(`sync ${node}`, next);
    }
    this.#take(state, node, head, emit);
  }

  #candidate(state: State, node: number): rules.Candidate {
    const { l } = state;
    const told = new Map<string, { readonly received: number; readonly incarnation: string }>();
    for (const other of this.#nodes) {
      if (other === node || state.get(l.isUp + other) === 0 || state.get(l.role + other) === ROLE.taking) continue;
      if (this.#isHolder(state, other) && this.#leaseUntil(state, other) > 0) continue;
      // No log is set aside here.
      told.set(idOf(other), { received: state.get(l.logLength + other), incarnation: 'kept' });
    }
    const released = state.get(l.released + node);
    return {
      id: idOf(node),
      now: 0,
      promisedUntil: state.get(l.promiseTicks + node),
      hasReplicaLog: state.get(l.hasOwnLog + node) === 0,
      log: {
        received: state.get(l.logLength + node),
        synced: state.get(l.synced + node),
        isWhole: state.get(l.isWhole + node) === 1,
      },
      told,
      members: this.#nodes.map(idOf),
      ack: 'peer',
      releasedAt: released === 0 ? undefined : released - 1,
      mayLose: false,
      acceptLoss: false,
    };
  }

  #take(state: State, node: number, head: rules.HeadView, emit: Emit): void {
    const { l } = state;
    if (state.get(l.cas + node) !== CAS.none || head.epoch >= this.bounds.epochs) return;
    if (this.#rules.mayTakeOver(head, this.#candidate(state, node)) !== 'may') return;
    const next = state.copy();
    const base = state.get(l.headVersion);
    const { epoch, inSync } = this.#rules.takenOver(head, idOf(node));
    const set = bitsOf(inSync);
    // What others ship to it is refused from now on.
    for (const other of this.#nodes) if (other !== node) this.#unlink(next, other, node);
    next.set(l.role + node, ROLE.taking);
    next.set(l.hasOwnLog + node, 1);
    next.set(l.cas + node, CAS.sent);
    next.set(l.casBase + node, base);
    next.set(l.casSet + node, set);
    next.set(l.released + node, 0);
    next.set(l.promiseTicks + node, 0);
    if (next.setOps([...next.ops(), { node, kind: TAKE, base, epoch, holder: node, set }])) emit(`take ${node}`, next);
  }

  #won(state: State, node: number, op: Op): void {
    const { l } = state;
    this.#forget(state, node);
    state.set(l.role + node, ROLE.holder);
    state.set(l.reign + node, op.epoch);
    state.set(l.heard + node, op.epoch);
    state.set(l.noted + node, op.epoch);
    state.set(l.set + node, op.set);
    state.set(l.casBase + node, op.base + 1);
    state.set(l.isWhole + node, 1);
    for (const other of this.#nodes)
      if (other !== node) state.set(state.pair(l.lease, node, other), this.bounds.termTicks);
  }

  // Messages.

  #deliver(state: State, from: number, to: number, emit: Emit): void {
    const [message, ...rest] = state.queue(from, to);
    if (message === undefined) return;
    const next = state.copy();
    next.setQueue(from, to, rest);
    if (this.#receive(next, from, to, message)) emit(`deliver ${from}-${to} ${String(message[0])}`, next);
  }

  /** False when it has to wait: there is no space for the answer. */
  #receive(state: State, from: number, to: number, message: Message): boolean {
    const [kind, a, b] = message;
    const { l } = state;
    if (kind !== MESSAGE.promise && kind !== MESSAGE.got) return this.#toReplica(state, from, to, message);
    if (!this.#isHolder(state, to)) return true;
    if (kind === MESSAGE.promise) {
      const at = state.pair(l.lease, to, from);
      if (state.get(l.reign + to) === a) state.set(at, Math.min(state.get(at), b));
    } else if (this.#isLinked(state, to, from)) {
      state.set(state.pair(l.received, to, from), a);
      state.set(state.pair(l.receivedSynced, to, from), b);
    }
    return true;
  }

  #toReplica(state: State, from: number, to: number, [kind, a, b]: Message): boolean {
    const { l } = state;
    const answer = (message: Message): boolean => {
      const last = state.queue(to, from).at(-1)?.[0];
      if (!state.hasSpace(to, from) && !(last === MESSAGE.got && message[0] === MESSAGE.got)) return false;
      state.push(to, from, message);
      return true;
    };
    if (state.get(l.role + to) === ROLE.holder) return true;
    const listener = this.#listener(state, to);
    if (kind === MESSAGE.renew) {
      if (!this.#rules.mayPromise(a, listener)) return true;
      state.set(l.heard + to, a);
      state.set(l.promiseTicks + to, this.#promise());
      state.set(l.released + to, 0);
      return answer([MESSAGE.promise, a, b]);
    }
    if (!this.#rules.mayReceive(a, listener)) return true;
    if (kind === MESSAGE.whole) state.set(l.isWhole + to, 1);
    else if (kind === MESSAGE.release) {
      state.set(l.promiseTicks + to, 0);
      state.set(l.released + to, b + 1);
    } else if (this.#isLinked(state, from, to)) {
      // A replica takes records of the connection that they were announced on, and no others.
      state.append(to, b >> 4, b & 15);
      state.set(l.heard + to, a);
      return answer([MESSAGE.got, state.get(l.logLength + to), state.get(l.synced + to)]);
    }
    return true;
  }

  // The store.

  #store(state: State, emit: Emit): void {
    const ops = state.ops();
    ops.forEach((op, i) => {
      const others = ops.filter((_, j) => j !== i);
      this.#apply(state, op, others, emit);
      if (state.get(state.l.lostReplies) >= this.bounds.lostReplies) return;
      const isWaitedFor = op.node !== NOBODY;
      if (isWaitedFor) {
        for (const rest of [others, [...others, { ...op, node: NOBODY }]]) {
          const next = this.#withLostReply(state, op.node);
          next.setOps(rest);
          emit(`${op.node} is not told (${rest.length > others.length ? 'may come late' : 'never made'})`, next, true);
        }
      } else {
        const next = state.copy();
        next.setOps(others);
        emit('a late change never comes', next);
      }
    });
  }

  #withLostReply(state: State, node: number): State {
    const { l } = state;
    const next = state.copy();
    next.set(l.lostReplies, next.get(l.lostReplies) + 1);
    next.set(l.cas + node, CAS.unknown);
    return next;
  }

  #apply(state: State, op: Op, others: readonly Op[], emit: Emit): void {
    const { l } = state;
    const { node } = op;
    const version = state.get(l.headVersion);
    const fits = op.base === version;
    const made = (from: State): State => {
      const next = from.copy();
      next.setOps(others);
      if (!fits) return next;
      next.set(l.headEpoch, op.epoch);
      next.set(l.headHolder, op.holder);
      next.set(l.headSet, op.set);
      next.set(l.headVersion, version + 1);
      return next;
    };
    if (node === NOBODY) {
      emit('a late change comes', made(state));
      return;
    }
    if (state.get(l.lostReplies) < this.bounds.lostReplies)
      emit(`${node} is not told (made)`, made(this.#withLostReply(state, node)), true);
    const next = made(state);
    if (op.kind === TAKE) {
      if (fits) this.#won(next, node, op);
      else this.#takeAgain(next, node);
    } else if (fits) this.#setChanged(next, node, op);
    else if (next.get(l.headEpoch) === next.get(l.reign + node)) {
      // Its own change of before has come late: the change is made again upon that.
      next.setOps([...others, { ...op, base: version }]);
      next.set(l.casBase + node, version);
    } else this.#demote(next, node);
    emit(`${op.kind === TAKE ? 'take-over' : 'change'} of ${node} ${fits ? 'made' : 'refused'}`, next);
  }

  #setChanged(state: State, node: number, { set, base }: Op): void {
    const { l } = state;
    state.set(l.casBase + node, base + 1);
    const had = state.get(l.set + node);
    state.set(l.set + node, set);
    state.set(l.maybeSet + node, 0);
    state.set(l.joining + node, state.get(l.joining + node) & ~(set & ~had));
    state.set(l.cas + node, CAS.none);
    state.set(l.casSet + node, 0);
  }

  /** Upon the head that is there now, if that allows it; else it is refused for certain. */
  #takeAgain(state: State, node: number): void {
    const { l } = state;
    const head = this.#head(state);
    if (!this.#rules.mayBeHolder(head, idOf(node))) {
      this.#demote(state, node);
      return;
    }
    const base = state.get(l.headVersion);
    const { epoch, inSync } = this.#rules.takenOver(head, idOf(node));
    const set = bitsOf(inSync);
    state.set(l.casBase + node, base);
    state.set(l.casSet + node, set);
    state.set(l.cas + node, CAS.sent);
    state.setOps([...state.ops(), { node, kind: TAKE, base, epoch, holder: node, set }]);
  }

  /** Whoever was not told looks, and tries again. */
  #settle(state: State, node: number, emit: Emit): void {
    const { l } = state;
    if (state.get(l.cas + node) !== CAS.unknown) return;
    const next = state.copy();
    const set = state.get(l.casSet + node);
    next.set(l.cas + node, CAS.sent);
    if (state.get(l.role + node) === ROLE.holder) {
      if (state.get(l.headEpoch) !== state.get(l.reign + node)) this.#demote(next, node);
      else if (!this.#sendSet(next, node, set)) return;
      emit(`try again ${node}`, next);
      return;
    }
    if (state.ops().length > 1) return;
    this.#takeAgain(next, node);
    emit(`settle ${node}`, next);
  }
}
