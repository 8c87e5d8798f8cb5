/**
 * Tries out what sgw needs of an object store, on the store itself, under keys of its own that are removed again.
 */
import type { Etag, ObjectStore, PutCondition, PutResult } from '../objectstore/index.ts';
import { assert, SgwError, shellWord, toSgwError, type Clock, type Random } from '../kit/index.ts';
import type { StoreCheckDocument } from '../localapi/index.ts';

export interface ProbeOptions {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

type ProbeResult = StoreCheckDocument['probes'][number];

interface Probe {
  readonly name: string;
  /** A store that fails it is refused for writing. */
  readonly required: boolean;
  /** What it means when it is passed. */
  readonly says: string;
  readonly run: (trial: Trial) => Promise<void>;
  /** Whether it is of stores behind a server alone. */
  readonly isOfServers?: true;
}

/** Keys that probes use begin so; nothing else lies below. */
const PROBE_PREFIX = 'probe/';
const BODY_BYTES = 64 * 1024;
/** Writers of one key at once. */
const RACERS = 8;
/** A clock that is further off will be refused by some servers, and makes times hard to compare. */
const CLOCK_OFFSET_MAX_MS = 60_000;

/** The object that the probes work on, one after the other. */
class Trial {
  readonly objects: ObjectStore;
  readonly signal: AbortSignal;
  readonly key: string;
  /** What several write at once. */
  readonly raceKey: string;
  readonly body: Buffer;
  readonly second: Buffer;
  etag: Etag | undefined;
  /** Without an object there is nothing that the later probes could be tried on. */
  wasStored = false;

  constructor(options: ProbeOptions) {
    this.objects = options.objects;
    this.signal = options.signal;
    this.key = `${PROBE_PREFIX}${options.random.bytes(8).toString('hex')}`;
    this.raceKey = `${this.key}-race`;
    this.body = options.random.bytes(BODY_BYTES);
    this.second = options.random.bytes(BODY_BYTES);
  }

  async read(): Promise<Buffer> {
    const object = await this.objects.get(this.key, { signal: this.signal });
    if (object === undefined) throw failed('an object that was just written is not there');
    this.etag = object.etag;
    return object.bytes;
  }
}

const PROBES: readonly Probe[] = [
  {
    name: 'create-if-absent',
    required: true,
    says: 'a new object is created under the condition that it is absent',
    run: createFirst,
  },
  { name: 'create-refused', required: true, says: 'a second create of the same key is refused', run: createAgain },
  { name: 'read-your-writes', required: true, says: 'a read after a write returns what was written', run: readBack },
  { name: 'range-read', required: true, says: 'a part of an object, and its end, can be read', run: readRange },
  {
    name: 'compare-and-set',
    required: true,
    says: 'an object is replaced when its version is the expected one',
    run: replaceExpected,
  },
  {
    name: 'compare-and-set-refused',
    required: true,
    says: 'a replacement is refused when its version is another',
    run: replaceStale,
  },
  {
    name: 'compare-and-set-absent',
    required: true,
    says: 'a replacement of an object that is not there is refused',
    run: replaceAbsent,
  },
  {
    name: 'create-race',
    required: true,
    says: 'of several creates of one key at once exactly one succeeds',
    run: async (trial) => race(trial, trial.body, { ifAbsent: true }),
  },
  {
    name: 'compare-and-set-race',
    required: true,
    says: 'of several replacements of one version at once exactly one succeeds',
    run: async (trial) => race(trial, trial.second, { ifMatch: await versionOf(trial, trial.raceKey) }),
  },
  {
    name: 'list-after-write',
    required: true,
    says: 'a list right after a write contains the object',
    run: listAfterWrite,
  },
  {
    name: 'clock',
    required: false,
    says: 'the clocks of the store and of this machine agree',
    run: compareClocks,
    isOfServers: true,
  },
  { name: 'delete', required: true, says: 'a deleted object is gone from reads and lists', run: deleteObject },
];

/** Runs every probe, each timed, and removes what they made. A store that fails a required one is not writable. */
export async function probeStore(options: ProbeOptions): Promise<StoreCheckDocument> {
  return (await tryStore(options)).check;
}

/**
 * Tries out a store before anything is begun in it; `place` as a user names it.
 * @throws unsupported `store-unfit` when it lacks what sgw needs; denied, exhausted as the store says
 */
export async function requireFit(options: ProbeOptions, place: string): Promise<void> {
  const { check, failure } = await tryStore(options);
  // A full disk or a missing right says nothing of what the store is able to do.
  if (failure?.kind === 'exhausted' || failure?.kind === 'denied') throw failure;
  const lacking = check.probes.find((probe) => !probe.ok && probe.required);
  if (lacking === undefined) return;
  const message = `the store ${options.objects.description} can not be used: ${lacking.message}`;
  throw new SgwError('unsupported', 'store-unfit', message, {
    hint: `\`sgw store check --store ${shellWord(place)}\` shows all it can and can't do.`,
    details: { store: place, probe: lacking.name },
  });
}

/** As `probeStore`, and why the first required probe failed. */
async function tryStore(
  options: ProbeOptions,
): Promise<{ readonly check: StoreCheckDocument; readonly failure: SgwError | undefined }> {
  const trial = new Trial(options);
  const probes: ProbeResult[] = [];
  let failure: SgwError | undefined;
  try {
    for (const probe of PROBES) {
      if (probe.isOfServers === true && trial.objects.facts?.() === undefined) continue;
      const notTried = failure !== undefined && !trial.wasStored ? failed(`not tried: ${failure.message}`) : undefined;
      const ran = await runProbe(probe, trial, options, notTried);
      if (probe.required) failure ??= ran.failure;
      probes.push(ran.result);
    }
  } finally {
    await Promise.all([trial.key, trial.raceKey].map(async (key) => trial.objects.delete(key).catch(() => false)));
  }
  const writable = probes.every((probe) => probe.ok || !probe.required);
  const { provider = null, limits = [] } = options.objects.facts?.() ?? {};
  const check = { store: options.objects.description, provider, writable, probes, remarks: [...limits] };
  return { check, failure };
}

interface Ran {
  readonly result: ProbeResult;
  readonly failure: SgwError | undefined;
}

async function runProbe(
  probe: Probe,
  trial: Trial,
  options: ProbeOptions,
  notTried: SgwError | undefined,
): Promise<Ran> {
  const startedMs = options.clock.monotonicMs();
  let failure = notTried;
  try {
    if (notTried === undefined) await probe.run(trial);
  } catch (error) {
    failure = toSgwError(error);
    if (failure.kind === 'aborted') throw failure;
  }
  const durationMs = Math.round((options.clock.monotonicMs() - startedMs) * 1000) / 1000;
  const { name, required } = probe;
  const result = { name, ok: failure === undefined, required, message: failure?.message ?? probe.says, durationMs };
  return { result, failure };
}

const failed = (what: string): SgwError => new SgwError('unsupported', 'store-probe', what);

async function createFirst(trial: Trial): Promise<void> {
  const { objects, key, body, signal } = trial;
  const result = await objects.put(key, body, { condition: { ifAbsent: true }, signal });
  if (!(await wasDone(trial, result, body))) throw failed('creating an object that is absent was refused');
  trial.wasStored = true;
}

/** Whether a put took place; one that was refused after a reply was lost may have been refused because of itself. */
async function wasDone({ objects, key, signal }: Trial, result: PutResult, body: Buffer): Promise<boolean> {
  if (result.outcome === 'stored' || !isAmbiguous(result)) return result.outcome === 'stored';
  return (await objects.get(key, { signal }))?.bytes.equals(body) === true;
}

async function createAgain({ objects, key, second, signal }: Trial): Promise<void> {
  const { outcome } = await objects.put(key, second, { condition: { ifAbsent: true }, signal });
  if (outcome === 'stored')
    throw failed('a second create of the same key was not refused: two writers could overwrite each other');
}

async function readBack(trial: Trial): Promise<void> {
  if (!(await trial.read()).equals(trial.body)) throw failed('a read returned other bytes than were written');
  const info = await trial.objects.head(trial.key, { signal: trial.signal });
  if (info?.sizeBytes !== trial.body.length) throw failed('the size of an object is not what was written');
}

async function readRange({ objects, key, body, signal }: Trial): Promise<void> {
  const middle = await objects.get(key, { span: { offset: 1000, length: 5000 }, signal });
  const end = await objects.get(key, { span: { suffix: 512 }, signal });
  if (middle?.bytes.equals(body.subarray(1000, 6000)) !== true)
    throw failed('a part of an object was not returned as asked');
  if (end?.bytes.equals(body.subarray(-512)) !== true) throw failed('the end of an object was not returned as asked');
}

async function replaceExpected(trial: Trial): Promise<void> {
  await trial.read();
  const { objects, key, second, etag, signal } = trial;
  assert(etag !== undefined, 'a read tells the version');
  const result = await objects.put(key, second, { condition: { ifMatch: etag }, signal });
  if (!(await wasDone(trial, result, second))) throw failed('replacing the expected version was refused');
  const now = await objects.get(key, { signal });
  if (now?.bytes.equals(second) !== true) throw failed('a read returned other bytes than were written');
}

/** The version that was replaced before. */
async function replaceStale({ objects, key, body, second, etag, signal }: Trial): Promise<void> {
  if (etag === undefined) throw failed('not tried: the version is not known');
  const { outcome } = await objects.put(key, body, { condition: { ifMatch: etag }, signal });
  if (outcome === 'stored')
    throw failed('replacing an older version was not refused: two writers could overwrite each other');
  const now = await objects.get(key, { signal });
  if (now?.bytes.equals(second) !== true) throw failed('a refused replacement changed the object');
}

async function versionOf({ objects, signal }: Trial, key: string): Promise<Etag> {
  const info = await objects.head(key, { signal });
  if (info === undefined) throw failed('an object that was just written is not there');
  return info.etag;
}

/**
 * Several writers of one key, each with bytes of its own: what is there then is what the one that succeeded wrote. Nobody
 * writes again what is there, since the version would stay the same.
 */
async function race({ objects, raceKey, signal }: Trial, base: Buffer, condition: PutCondition): Promise<void> {
  const bodies = Array.from({ length: RACERS }, (_, racer) =>
    Buffer.concat([base.subarray(0, 1000), Buffer.of(racer)]),
  );
  const results = await Promise.all(bodies.map(async (own) => objects.put(raceKey, own, { condition, signal })));
  const winners = bodies.filter((_, racer) => results[racer]?.outcome === 'stored');
  const now = await objects.get(raceKey, { signal });
  if (winners.length > 1)
    throw failed(
      `${String(winners.length)} of ${String(RACERS)} writers of one key at once succeeded: they overwrite each other`,
    );
  // Whose reply was lost may have won without knowing.
  const mayHaveWon = winners.length === 1 ? winners : bodies.filter((_, racer) => isAmbiguous(results[racer]));
  if (!mayHaveWon.some((own) => now?.bytes.equals(own) === true))
    throw failed(
      `of ${String(RACERS)} writers of one key at once none succeeded, or the bytes are not those of the one that did`,
    );
}

const isAmbiguous = (result: PutResult | undefined): boolean =>
  result?.outcome === 'preconditionFailed' && result.ambiguous === true;

async function compareClocks({ objects }: Trial): Promise<void> {
  const offsetMs = objects.facts?.()?.clockOffsetMs ?? 0;
  await Promise.resolve();
  if (Math.abs(offsetMs) <= CLOCK_OFFSET_MAX_MS) return;
  const offset = `${String(Math.round(Math.abs(offsetMs) / 1000))} s`;
  throw failed(`the clock of the store is ${offset} ${offsetMs > 0 ? 'ahead of' : 'behind'} that of this machine`);
}

/** Before the race makes an object there. */
async function replaceAbsent({ objects, raceKey, body, etag, signal }: Trial): Promise<void> {
  if (etag === undefined) throw failed('not tried: no version is known');
  const { outcome } = await objects.put(raceKey, body, { condition: { ifMatch: etag }, signal });
  if (outcome !== 'stored') return;
  await objects.delete(raceKey, { signal });
  throw failed('replacing an object that is not there was not refused: what was removed could come back');
}

async function listAfterWrite(trial: Trial): Promise<void> {
  if (!(await isListed(trial))) throw failed('a list did not contain an object that was written before');
}

async function deleteObject(trial: Trial): Promise<void> {
  const { objects, key, signal } = trial;
  if ((await objects.head(key, { signal })) === undefined) throw failed('there was no object to delete');
  // What it answers says nothing: where a reply was lost, the object is gone at the second try.
  await objects.delete(key, { signal });
  if ((await objects.head(key, { signal })) !== undefined) throw failed('a deleted object can still be read');
  if (await isListed(trial)) throw failed('a deleted object is still listed');
}

async function isListed({ objects, key, signal }: Trial): Promise<boolean> {
  for await (const info of objects.list(PROBE_PREFIX, { signal })) if (info.key === key) return true;
  return false;
}
