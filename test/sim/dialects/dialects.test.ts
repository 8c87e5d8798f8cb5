/**
 * The simulation over S3's dialects, in a few seconds: what `store check` takes keeps every rule, what it refuses would not, and
 * what each dialect is about was met. `npm run test:sim -- --dialect NAME` does it for longer.
 */
import { describe, expect, it } from 'vitest';
import { Tally } from '../tally.ts';
import type { Tampering } from './client.ts';
import { DIALECTS, dialectOf, missingOver, probeDialect, runDialect, tryDialect, type Dialect } from './index.ts';

const first = Number(process.env['SGW_SEED'] ?? 1);
const SEEDS = 3;
const STEPS = 300;
const PROBED_SEEDS = 20;
/** Within so many seeds what is broken is noticed. */
const BROKEN_SEEDS = 30;

const taken = DIALECTS.filter(({ verdict }) => verdict === 'holds');
const refused = DIALECTS.filter(({ verdict }) => verdict === 'refused');

/** The first failure within a few seeds over what is broken on purpose. */
async function firstFailure(dialect: Dialect, tampering?: Tampering): Promise<Error | undefined> {
  for (let seed = 1; seed <= BROKEN_SEEDS; seed++) {
    const broken = tampering === undefined ? {} : { tampering };
    const { failure } = await runDialect(dialect, { seed, steps: 2 * STEPS, ...broken });
    if (failure !== undefined) return failure;
  }
  return undefined;
}

describe('dialects of S3', { timeout: 240_000 }, () => {
  it.each(taken)('C1-C5 C7-C11 hold over $name: $about', async (dialect) => {
    const total = new Tally();
    for (const isServed of [false, true])
      for (let seed = first; seed < first + SEEDS; seed++) {
        const result = await tryDialect(dialect, { seed, steps: STEPS, isServed });
        total.merge(result.tally);
        const what = `SGW_SEED=${String(seed)}\n${result.trace.slice(-30).join('\n')}\n${String(result.failure?.stack)}`;
        expect(result.failure, what).toBeUndefined();
      }
    expect(missingOver(dialect.name, total)).toEqual([]);
  });

  it.each(refused)('store check refuses $name: $about', async (dialect) => {
    for (let seed = first; seed < first + PROBED_SEEDS; seed++)
      expect((await probeDialect(dialect, seed)).writable, `SGW_SEED=${String(seed)}`).toBe(false);
  });

  it.each(['heedless', 'looking', 'eventual'])('C1 over %s, which is refused, a rule would be broken', async (name) => {
    expect(await firstFailure(dialectOf(name))).toBeInstanceOf(Error);
  });

  it('a seed replays exactly', async () => {
    const run = async (seed: number): Promise<string> =>
      (await runDialect(dialectOf('late'), { seed, steps: STEPS })).traceHash;
    const once = await run(5);
    expect(await run(5)).toBe(once);
    expect(await run(6)).not.toBe(once);
  });
});

describe('broken on purpose over a dialect, and noticed', { timeout: 240_000 }, () => {
  it('C3 what stands in the way is taken for its own by everybody', async () => {
    const names = new Map<string, string>();
    const answer: Tampering['answer'] = ({ name, key }, given) =>
      name.endsWith('.head') ? { ...given, Metadata: { 'sgw-call': names.get(key) } } : given;
    const asked: Tampering['asked'] = ({ key, put }) => {
      names.set(key, put?.Metadata?.['sgw-call'] ?? names.get(key) ?? '');
    };
    expect(await firstFailure(dialectOf('lossy'), { answer, asked })).toBeInstanceOf(Error);
  });

  it('C3 a 409 is taken for a refusal', async () => {
    const failure: Tampering['failure'] = (error) =>
      statusOf(error) === 409 ? Object.assign(error as Error, { $metadata: { httpStatusCode: 412 } }) : error;
    expect(await firstFailure(dialectOf('aws'), { failure })).toBeInstanceOf(Error);
  });

  it.each(['copying', 'late'])('C1 %s: what comes late has lost its condition', async (name) => {
    const late: Tampering['late'] = ({ IfMatch: _, IfNoneMatch: __, ...input }) => input;
    expect(await firstFailure(dialectOf(name), { late })).toBeInstanceOf(Error);
  });
});

const statusOf = (error: unknown): number | undefined =>
  (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
