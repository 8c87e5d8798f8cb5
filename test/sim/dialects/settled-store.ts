/** Counts, between the retries and the room of S3, how that settles what was refused after an earlier try. */
import type { ObjectStore, PutBody, PutOptions, PutResult } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import type { Tally } from '../tally.ts';

export class SettledStore extends StoreLayer {
  readonly #tally: Tally;
  /** Names of calls whose last answer was 412. */
  readonly #refused: ReadonlySet<string>;
  readonly #tries = new Map<string, number>();

  constructor(below: ObjectStore, tally: Tally, refused: ReadonlySet<string>) {
    super(below);
    this.#tally = tally;
    this.#refused = refused;
  }

  override async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    const { callId = '' } = options;
    const tries = (this.#tries.get(callId) ?? 0) + 1;
    this.#tries.set(callId, tries);
    const result = await this.below.put(key, body, options);
    this.#tries.delete(callId);
    if (result.outcome === 'stored' && this.#refused.has(callId)) this.#tally.event('told by its name');
    if (result.outcome !== 'stored' && tries > 1) this.#tally.event('refused, maybe by itself');
    return result;
  }
}
