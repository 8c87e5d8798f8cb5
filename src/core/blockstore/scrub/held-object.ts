/** A store in which one object is as it was read a moment ago, so that readers check just these bytes. */
import { SgwError } from '../../kit/index.ts';
import { StoreLayer, type GetOptions, type ObjectBody, type ObjectStore } from '../../objectstore/index.ts';

export class HeldObject extends StoreLayer {
  readonly #held: ObjectBody;

  constructor(below: ObjectStore, held: ObjectBody) {
    super(below);
    this.#held = held;
  }

  override async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    if (key !== this.#held.key) return await super.get(key, options);
    const { bytes, sizeBytes } = this.#held;
    const { span } = options;
    if (span === undefined) return this.#held;
    const offset = 'suffix' in span ? Math.max(0, sizeBytes - span.suffix) : span.offset;
    if (offset >= sizeBytes) throw new SgwError('invalid', 'span-past-end', `object ${key} ends before its part`);
    const end = 'suffix' in span ? sizeBytes : Math.min(sizeBytes, span.offset + span.length);
    return { ...this.#held, bytes: bytes.subarray(offset, end) };
  }
}
