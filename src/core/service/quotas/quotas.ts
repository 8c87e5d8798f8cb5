/**
 * Limits of accounts, which root sets, and whether what is asked for is within them.
 *
 * What an account has is counted in the store when something is asked for that there is a limit of; the figure is good for
 * `COUNTED_MS`, with what was let through since, and nothing is refused by it before it is counted anew. Servers know nothing
 * of each other's figures: requests at the same time may pass a limit by as many as they are.
 */
import { changeDocument, createDocument, readDocument } from '../../blockstore/index.ts';
import { formatSize, Semaphore, SgwError } from '../../kit/index.ts';
import { LIMIT_NAMES, NO_LIMITS, type AccountLimits, type AccountUsage, type LimitName } from '../../protocol/index.ts';
import { timeOf, type ServiceContext } from '../context.ts';
import { serviceKeys } from '../keys.ts';
import { COUNTED_WITH, COUNTS, type Counted } from './usage.ts';

/** Until when limits that were read hold: as long as access keys that were revoked do. */
const LIMITS_MS = 2000;
const COUNTED_MS = 10_000;
const ACCOUNTS_MAX = 4096;

interface StoredLimits extends AccountLimits {
  readonly accountId: string;
  readonly changedAt: string;
}

interface Figures {
  readonly untilMs: number;
  readonly usage: Partial<AccountUsage>;
}

/** What this server knows of an account. */
interface Known {
  /** One request at a time counts, and is weighed. */
  readonly turn: Semaphore;
  limits: { readonly untilMs: number; readonly value: AccountLimits } | undefined;
  readonly figures: Map<Counted, Figures>;
}

export class Quotas {
  readonly #context: ServiceContext;
  /** The one that was asked for last is the last. */
  readonly #known = new Map<string, Known>();

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Those that the account has now. */
  async limitsOf(accountId: string, signal: AbortSignal): Promise<AccountLimits> {
    const stored = await readDocument<StoredLimits>(this.#context.blocks, serviceKeys.limits(accountId), signal);
    return stored === undefined ? NO_LIMITS : limitsIn(stored.value);
  }

  /**
   * Changes those that are named; null: no limit. Durable when it resolves, and in force everywhere within 2 s.
   * @throws invalid `root-unlimited`
   */
  async change(accountId: string, changes: Partial<AccountLimits>, signal: AbortSignal): Promise<AccountLimits> {
    const { blocks } = this.#context;
    const root = await readDocument<{ accountId: string }>(blocks, serviceKeys.root, signal);
    if (root?.value.accountId === accountId) throw rootUnlimited();
    const key = serviceKeys.limits(accountId);
    const changed = (now: AccountLimits): StoredLimits => ({
      ...{ ...NO_LIMITS, ...now, ...changes },
      ...{ accountId, changedAt: timeOf(this.#context) },
    });
    const first = changed(NO_LIMITS);
    const isFirst = await createDocument(blocks, key, first, signal);
    const now = isFirst ? first : await changeDocument<StoredLimits>(blocks, key, changed, signal);
    this.#known.delete(accountId);
    return limitsIn(now);
  }

  /** All that the account has, counted now. */
  async usageOf(accountId: string, signal: AbortSignal): Promise<AccountUsage> {
    const parts = await Promise.all(
      Object.values(COUNTS).map(async (count) => count(this.#context, accountId, signal)),
    );
    return Object.assign({ volumes: 0, volumeBytes: 0, snapshots: 0, gateways: 0, keys: 0 }, ...parts) as AccountUsage;
  }

  /**
   * To be called before something is made that was not there, with how much it adds.
   * @throws denied `quota-exceeded`
   */
  async require(accountId: string, added: Partial<AccountUsage>, signal: AbortSignal): Promise<void> {
    // Who holds the store of an embedded service gives himself no limits.
    if (this.#context.isEmbedded) return;
    const known = this.#of(accountId);
    const limits = await this.#limits(known, accountId, signal);
    const names = LIMIT_NAMES.filter((name) => limits[name] !== null && (added[name] ?? 0) > 0);
    if (names.length === 0) return;
    const release = await known.turn.acquire(1, signal);
    try {
      for (const name of names) await this.#weigh(known, accountId, { name, limit: limits[name] ?? 0, added }, signal);
      for (const name of names) this.#add(known, name, added[name] ?? 0);
    } finally {
      release();
    }
  }

  async #weigh(
    known: Known,
    accountId: string,
    wanted: { readonly name: LimitName; readonly limit: number; readonly added: Partial<AccountUsage> },
    signal: AbortSignal,
  ): Promise<void> {
    const { name, limit, added } = wanted;
    const counted = COUNTED_WITH[name];
    const { clock } = this.#context.blocks;
    const isWithin = (): boolean => (known.figures.get(counted)?.usage[name] ?? 0) + (added[name] ?? 0) <= limit;
    const isFresh = clock.monotonicMs() < (known.figures.get(counted)?.untilMs ?? 0);
    if (isFresh && isWithin()) return;
    const untilMs = clock.monotonicMs() + COUNTED_MS;
    known.figures.set(counted, { untilMs, usage: await COUNTS[counted](this.#context, accountId, signal) });
    if (!isWithin()) throw exceeded(accountId, name, limit);
  }

  #add(known: Known, name: LimitName, amount: number): void {
    const counted = COUNTED_WITH[name];
    const figures = known.figures.get(counted);
    if (figures === undefined) return;
    const usage = { ...figures.usage, [name]: (figures.usage[name] ?? 0) + amount };
    known.figures.set(counted, { ...figures, usage });
  }

  async #limits(known: Known, accountId: string, signal: AbortSignal): Promise<AccountLimits> {
    const nowMs = this.#context.blocks.clock.monotonicMs();
    if (known.limits !== undefined && nowMs < known.limits.untilMs) return known.limits.value;
    const value = await this.limitsOf(accountId, signal);
    known.limits = { value, untilMs: nowMs + LIMITS_MS };
    return value;
  }

  #of(accountId: string): Known {
    const known = this.#known.get(accountId) ?? { turn: new Semaphore(1), limits: undefined, figures: new Map() };
    this.#known.delete(accountId);
    this.#known.set(accountId, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= ACCOUNTS_MAX) break;
      this.#known.delete(oldest);
    }
    return known;
  }
}

const rootUnlimited = (): SgwError =>
  new SgwError('invalid', 'root-unlimited', 'the account that runs the service has no limits', {
    hint: 'It could lock itself out. Give the account that uses gateways and volumes limits of its own.',
  });

const limitsIn = ({ volumes, volumeBytes, snapshots, gateways, keys }: AccountLimits): AccountLimits => ({
  ...{ volumes, volumeBytes, snapshots, gateways, keys },
});

const WHAT: Readonly<Record<LimitName, (limit: number) => string>> = {
  volumes: (limit) => `${String(limit)} volumes`,
  volumeBytes: (limit) => `volumes of ${formatSize(limit)} together`,
  snapshots: (limit) => `${String(limit)} snapshots`,
  gateways: (limit) => `${String(limit)} gateways`,
  keys: (limit) => `${String(limit)} access keys`,
};

function exceeded(accountId: string, name: LimitName, limit: number): SgwError {
  return new SgwError('denied', 'quota-exceeded', `account ${accountId} may have ${WHAT[name](limit)}, and no more`, {
    hint: 'Delete what is not needed any more, or ask whoever runs the service: sgw service account show tells the limits.',
    details: { accountId, limit: name, most: limit },
  });
}
