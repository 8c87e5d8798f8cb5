/** What scrubbing volumes and snapshots has in common. */
import type { SgwError } from '../../kit/index.ts';
import { isCorrupt } from '../damage.ts';
import { parseMapObject } from '../map-object.ts';
import { withSignal, type BlockStoreOptions } from '../options.ts';
import type { DamageLedger } from './ledger.ts';

const TRIES = 5;

/**
 * What `examine` finds. Where it finds damage it is called again if one of the root documents was changed meanwhile: gc may
 * have removed what they no longer need.
 */
export async function untilSettled(
  options: BlockStoreOptions,
  roots: readonly string[],
  signal: AbortSignal | undefined,
  examine: () => Promise<DamageLedger>,
): Promise<DamageLedger> {
  const versions = async (): Promise<string> => {
    const heads = await Promise.all(roots.map((key) => options.objects.head(key, withSignal(signal))));
    return heads.map((head) => head?.etag ?? 'absent').join(' ');
  };
  for (let tries = 1; ; tries++) {
    const before = await versions();
    const found = await examine();
    if (found.empty || tries === TRIES || before === (await versions())) return found;
  }
}

/** What `read` gives; undefined when it meets damage, which is put among the faults. */
export async function attempt<T>(faults: SgwError[], read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!isCorrupt(error)) throw error;
    faults.push(error);
    return undefined;
  }
}

/** The size that the last of these map objects names; undefined when it can't tell. */
export async function sizeInMaps(
  options: BlockStoreOptions,
  prefix: string,
  owner: string,
  signal?: AbortSignal,
): Promise<number | undefined> {
  let last: string | undefined;
  for await (const { key } of options.objects.list(prefix, withSignal(signal))) last = key;
  if (last === undefined) return undefined;
  const name = last;
  const object = await options.objects.get(name, withSignal(signal));
  if (object === undefined) return undefined;
  const footer = await attempt([], () => Promise.resolve().then(() => parseMapObject(name, object.bytes)));
  return footer?.owner === owner ? footer.sizeBytes : undefined;
}
