import type { ObjectInfo } from '../../objectstore/index.ts';

/** One key with what stands under it on either side. */
export interface Pair {
  readonly key: string;
  readonly from: ObjectInfo | undefined;
  readonly to: ObjectInfo | undefined;
}

/** Walks two lists side by side, each in the order of its keys, as stores give them. */
export async function* merge(from: AsyncIterable<ObjectInfo>, to: AsyncIterable<ObjectInfo>): AsyncGenerator<Pair> {
  const left = from[Symbol.asyncIterator]();
  const right = to[Symbol.asyncIterator]();
  try {
    let [a, b] = await Promise.all([left.next(), right.next()]);
    while (a.done !== true || b.done !== true) {
      const source = a.done === true ? undefined : a.value;
      const target = b.done === true ? undefined : b.value;
      const key = lower(source?.key, target?.key);
      const isLeft = source?.key === key;
      const isRight = target?.key === key;
      yield { key, from: isLeft ? source : undefined, to: isRight ? target : undefined };
      [a, b] = await Promise.all([isLeft ? left.next() : a, isRight ? right.next() : b]);
    }
  } finally {
    await left.return?.(undefined);
    await right.return?.(undefined);
  }
}

/** Keys are ASCII: their order as strings is that of their bytes. */
function lower(a: string | undefined, b: string | undefined): string {
  if (a === undefined) return b ?? '';
  return b === undefined || a < b ? a : b;
}
