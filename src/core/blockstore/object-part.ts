/** Reads a part of a stored object. */
import { SgwError } from '../kit/index.ts';
import type { ByteSpan, ObjectBody, ObjectStore } from '../objectstore/index.ts';
import { damaged } from './damage.ts';
import { withSignal } from './options.ts';

/**
 * As `ObjectStore.get` with a span; undefined when there is no such object.
 * @throws corrupt `object-damaged` when the object ends before the part begins: what points there says that it does not
 */
export async function getPart(
  objects: ObjectStore,
  key: string,
  span: ByteSpan,
  signal?: AbortSignal,
): Promise<ObjectBody | undefined> {
  try {
    return await objects.get(key, { span, ...withSignal(signal) });
  } catch (error) {
    if (error instanceof SgwError && error.code === 'span-past-end') throw damaged(key, 'it is too short', error);
    throw error;
  }
}
