/** Documents of the service that are looked at together. */
import { readDocument, type BlockStoreOptions } from '../blockstore/index.ts';
import { toSgwError } from '../kit/index.ts';
import type { Etag, ObjectInfo } from '../objectstore/index.ts';

const READS_AT_ONCE = 16;

export interface FoundDocument<T> {
  readonly key: string;
  readonly etag: Etag;
  readonly value: T;
}

/** All under a prefix, in the order of their keys; without those that can not be read, or are gone meanwhile. */
export async function* documentsUnder<T extends object>(
  blocks: BlockStoreOptions,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<FoundDocument<T>> {
  const read = async ({ key }: ObjectInfo): Promise<FoundDocument<T> | undefined> => {
    try {
      const stored = await readDocument<T>(blocks, key, signal);
      return stored === undefined ? undefined : { key, etag: stored.etag, value: stored.value };
    } catch (error) {
      if (toSgwError(error).kind !== 'corrupt') throw error;
      return undefined;
    }
  };
  const found = async (batch: readonly ObjectInfo[]): Promise<FoundDocument<T>[]> =>
    (await Promise.all(batch.map(read))).filter((one) => one !== undefined);
  let batch: ObjectInfo[] = [];
  for await (const object of blocks.objects.list(prefix, { signal })) {
    batch.push(object);
    if (batch.length < READS_AT_ONCE) continue;
    yield* await found(batch);
    batch = [];
  }
  yield* await found(batch);
}
