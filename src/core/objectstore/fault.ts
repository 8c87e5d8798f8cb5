/**
 * A layer that makes a store fail on purpose, by script or by a seeded chance, for tests and the simulator.
 *
 * Each call meets the rules in order; every rule that matches and is due injects its fault, latencies adding up, and the
 * first other fault decides. A run replays from the seed of `random` as long as calls come in the same order.
 */
import { SgwError, systemClock, type Clock, type Random } from '../kit/index.ts';
import type {
  CallOptions,
  GetOptions,
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectStore,
  PutBody,
  PutOptions,
  PutResult,
} from './contract.ts';
import { StoreLayer, type DeleteOptions } from './layer.ts';
import { sleep } from './retry.ts';

export type StoreOperation = 'put' | 'get' | 'head' | 'list' | 'delete';

/**
 * - `latency`: waits `latencyMs`, then goes on.
 * - `conflict409`: `unavailable` `store-conflict`, nothing applied. - `error500`: `unavailable` `store-error`, nothing applied.
 * - `lostReply`: applied, then `unavailable` `reply-lost`.
 * - `precondition412`: a conditional put is applied, then refused, as when a proxy repeats a request; other calls pass.
 * - `truncatedRead`: a get answers only the first half of the bytes asked for; other calls pass.
 */
export type FaultKind = 'latency' | 'conflict409' | 'error500' | 'lostReply' | 'precondition412' | 'truncatedRead';

/** Faults that mean something to one operation only. */
const ONLY_ON: Readonly<Partial<Record<FaultKind, StoreOperation>>> = { precondition412: 'put', truncatedRead: 'get' };

export interface FaultRule {
  readonly fault: FaultKind;
  /** Default every operation that the fault can happen to. */
  readonly operation?: StoreOperation;
  /** Default every key; for a list, its prefix. */
  readonly key?: RegExp;
  /** Lets so many matching calls pass first. Default 0. */
  readonly skip?: number;
  /** Injects so often, then never again. Default no end. */
  readonly times?: number;
  /** Injects by chance, 0 to 1. Default 1. */
  readonly probability?: number;
  readonly latencyMs?: number;
}

export interface FaultOptions {
  readonly rules: readonly FaultRule[];
  /** Needed by rules with a probability below one. */
  readonly random?: Random;
  readonly clock?: Clock;
}

export interface InjectedFault {
  readonly fault: FaultKind;
  readonly operation: StoreOperation;
  readonly key: string;
}

export interface FaultyStore {
  readonly store: ObjectStore;
  /** What was injected so far, in order. */
  readonly injected: readonly InjectedFault[];
  /** Replaces the script; its counts start anew. */
  setRules(rules: readonly FaultRule[]): void;
}

interface RuleState {
  readonly rule: FaultRule;
  matches: number;
  injections: number;
}

class FaultInjectingStore extends StoreLayer {
  readonly injected: InjectedFault[] = [];
  readonly #clock: Clock;
  readonly #random: Random | undefined;
  #states: RuleState[] = [];

  constructor(below: ObjectStore, options: FaultOptions) {
    super(below);
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random;
    this.setRules(options.rules);
  }

  setRules(rules: readonly FaultRule[]): void {
    this.#states = rules.map((rule) => ({ rule, matches: 0, injections: 0 }));
  }

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    return this.#call('put', key, options?.signal, async (fault) => {
      const result = await this.below.put(key, body, options);
      return fault === 'precondition412' && options?.condition !== undefined
        ? { outcome: 'preconditionFailed' }
        : result;
    });
  }

  override async get(key: string, options?: GetOptions): Promise<ObjectBody | undefined> {
    return this.#call('get', key, options?.signal, async (fault) => {
      const body = await this.below.get(key, options);
      if (body === undefined || fault !== 'truncatedRead') return body;
      return { ...body, bytes: body.bytes.subarray(0, body.bytes.length >> 1) };
    });
  }

  override async head(key: string, options?: CallOptions): Promise<ObjectInfo | undefined> {
    return this.#call('head', key, options?.signal, async () => this.below.head(key, options));
  }

  override async delete(key: string, options?: DeleteOptions): Promise<boolean> {
    return this.#call('delete', key, options?.signal, async () => this.below.delete(key, options));
  }

  /** A list whose reply is lost fails after its first object. */
  override async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    const fault = await this.#begin('list', prefix, options?.signal);
    for await (const info of this.below.list(prefix, options)) {
      yield info;
      if (fault === 'lostReply') throw lostReply('list', prefix);
    }
    if (fault === 'lostReply') throw lostReply('list', prefix);
  }

  override async *listFolders(prefix: string, options?: CallOptions): AsyncGenerator<string> {
    const fault = await this.#begin('list', prefix, options?.signal);
    yield* this.below.listFolders(prefix, options);
    if (fault === 'lostReply') throw lostReply('list', prefix);
  }

  async #call<T>(
    operation: StoreOperation,
    key: string,
    signal: AbortSignal | undefined,
    call: (fault: FaultKind | undefined) => Promise<T>,
  ): Promise<T> {
    const fault = await this.#begin(operation, key, signal);
    const result = await call(fault);
    if (fault === 'lostReply') throw lostReply(operation, key);
    return result;
  }

  /** Waits and fails as the rules say; returns the fault that is left to the call itself. */
  async #begin(
    operation: StoreOperation,
    key: string,
    signal: AbortSignal | undefined,
  ): Promise<FaultKind | undefined> {
    let latencyMs = 0;
    let fault: FaultKind | undefined;
    for (const state of this.#states) {
      if (!this.#isDue(state, operation, key)) continue;
      if (state.rule.fault !== 'latency' && fault !== undefined) continue;
      state.injections += 1;
      this.injected.push({ fault: state.rule.fault, operation, key });
      if (state.rule.fault === 'latency') latencyMs += state.rule.latencyMs ?? 0;
      else fault = state.rule.fault;
    }
    if (latencyMs > 0) await sleep(this.#clock, latencyMs, signal);
    if (fault === 'conflict409')
      throw new SgwError('unavailable', 'store-conflict', `the store answered 409 to ${operation} ${key}`);
    if (fault === 'error500')
      throw new SgwError('unavailable', 'store-error', `the store answered 500 to ${operation} ${key}`);
    return fault;
  }

  #isDue(state: RuleState, operation: StoreOperation, key: string): boolean {
    const { rule } = state;
    const only = rule.operation ?? ONLY_ON[rule.fault];
    if (only !== undefined && only !== operation) return false;
    if (rule.key !== undefined && !rule.key.test(key)) return false;
    state.matches += 1;
    if (state.matches <= (rule.skip ?? 0) || state.injections >= (rule.times ?? Number.POSITIVE_INFINITY)) return false;
    const probability = rule.probability ?? 1;
    if (probability >= 1) return true;
    if (this.#random === undefined)
      throw new SgwError('internal', 'assertion', 'a fault rule with a probability needs a random');
    return this.#random.float() < probability;
  }
}

function lostReply(operation: StoreOperation, key: string): SgwError {
  return new SgwError('unavailable', 'reply-lost', `the reply to ${operation} ${key} was lost`);
}

/** `below` with faults. Closing the store closes `below`. */
export function withFaults(below: ObjectStore, options: FaultOptions): FaultyStore {
  const store = new FaultInjectingStore(below, options);
  return {
    store,
    injected: store.injected,
    setRules: (rules) => {
      store.setRules(rules);
    },
  };
}
