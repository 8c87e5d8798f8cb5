/** gc of a gateway when another one marks at the same moment. */
import { expect, it } from 'vitest';
import { collectGarbage } from '../../../src/core/blockstore/gc/index.ts';
import { MIB, systemClock, systemRandom } from '../../../src/core/kit/index.ts';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import type { PutBody, PutOptions, PutResult } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import { GatewayRig } from './rig.ts';

/** Lets another gc replace the list just before the first time that one is stored through it. */
class OvertakenOnce extends StoreLayer {
  overtaken = 0;

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    if (key === 'gc/condemned.json' && this.overtaken === 0) {
      this.overtaken += 1;
      await collectGarbage({ objects: this.below, clock: systemClock, random: systemRandom }, { graceMs: 3_600_000 });
    }
    return this.below.put(key, body, options);
  }
}

it('C11 store gc begins again when another gc replaced its list meanwhile', async () => {
  const store = new OvertakenOnce(memoryStore());
  await using rig = await GatewayRig.start(store);
  await rig.call('volume.create', { name: 'golden', sizeBytes: MIB });
  await rig.call('snapshot.create', { volume: 'golden', name: 'v1' });
  await rig.call('snapshot.delete', { snapshot: 'v1' });
  const report = await rig.call('store.gc', { graceMs: 3_600_000 });
  expect(store.overtaken).toBe(1);
  expect(report.waiting.objects).toBeGreaterThan(0);
});
