/** What `store check` says of stores that lack something: each fake breaks one rule. */
import { describe, expect, it } from 'vitest';
import { probeStore } from '../../../src/core/gateway/store-probe.ts';
import { systemClock, systemRandom } from '../../../src/core/kit/index.ts';
import type { StoreCheckDocument } from '../../../src/core/localapi/index.ts';
import {
  memoryStore,
  StoreLayer,
  type GetOptions,
  type ListOptions,
  type ObjectBody,
  type ObjectInfo,
  type ObjectStore,
  type PutBody,
  type PutOptions,
  type PutResult,
  type StoreFacts,
} from '../../../src/core/objectstore/index.ts';

const check = async (objects: ObjectStore): Promise<StoreCheckDocument> =>
  probeStore({ objects, clock: systemClock, random: systemRandom, signal: new AbortController().signal });

const failedOf = (document: StoreCheckDocument): string[] =>
  document.probes.filter(({ ok }) => !ok).map(({ name }) => name);

/** As Ceph RGW does in a versioned bucket. */
class IgnoresConditions extends StoreLayer {
  override async put(key: string, body: PutBody): Promise<PutResult> {
    return this.below.put(key, body);
  }
}

/** Looks first, and then writes: right for one, wrong for many. */
class ChecksThenWrites extends StoreLayer {
  override async put(key: string, body: PutBody, options: PutOptions = {}): Promise<PutResult> {
    const there = await this.below.head(key);
    const { condition } = options;
    const holds =
      condition === undefined || ('ifAbsent' in condition ? there === undefined : there?.etag === condition.ifMatch);
    await new Promise((resolve) => setTimeout(resolve, 5));
    return holds ? await this.below.put(key, body) : { outcome: 'preconditionFailed' };
  }
}

class IgnoresRanges extends StoreLayer {
  override async get(key: string, options: GetOptions = {}): Promise<ObjectBody | undefined> {
    const { span: _, ...rest } = options;
    return this.below.get(key, rest);
  }
}

class ListsLate extends StoreLayer {
  override async *list(_prefix: string, _options?: ListOptions): AsyncGenerator<ObjectInfo> {
    // Nothing yet.
  }
}

class Elsewhere extends StoreLayer {
  override facts(): StoreFacts {
    return { provider: 'Somebody', limits: ['It is slow.'], clockOffsetMs: -600_000 };
  }
}

describe('store check', () => {
  it('a store that does everything is writable, and nothing is left in it', async () => {
    const objects = memoryStore();
    const document = await check(objects);
    expect(document).toMatchObject({ writable: true, provider: null, remarks: [] });
    expect(failedOf(document)).toEqual([]);
    expect(await Array.fromAsync(objects.list(''))).toEqual([]);
  });

  it.each([
    [
      'conditions',
      IgnoresConditions,
      [
        'create-refused',
        'read-your-writes',
        'range-read',
        'compare-and-set-refused',
        'compare-and-set-absent',
        'create-race',
        'compare-and-set-race',
      ],
    ],
    ['writers at once', ChecksThenWrites, ['create-race', 'compare-and-set-race']],
    ['ranges', IgnoresRanges, ['range-read']],
    ['what was just written, in lists', ListsLate, ['list-after-write']],
  ] as const)('one that does not heed %s is refused', async (_, Layer, expected) => {
    const objects = new Layer(memoryStore());
    const document = await check(objects);
    expect(document.writable).toBe(false);
    expect(failedOf(document)).toEqual(expected);
  });

  it('a clock that is off is told, with what is known of the server, and is no reason to refuse', async () => {
    const document = await check(new Elsewhere(memoryStore()));
    expect(document).toMatchObject({ writable: true, provider: 'Somebody', remarks: ['It is slow.'] });
    const clock = document.probes.find(({ name }) => name === 'clock');
    expect(clock).toMatchObject({ ok: false, required: false });
    expect(clock?.message).toContain('600 s behind');
  });
});
