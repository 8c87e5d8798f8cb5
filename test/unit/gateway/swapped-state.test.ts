/** The state of another home, sound as it is, is refused, and nothing is lost by it. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { memoryStore } from '../../../src/core/objectstore/index.ts';
import { GatewayRig } from './rig.ts';

const stateOf = (rig: GatewayRig): string => join(rig.path('home'), 'state.json');

test.each([{ shared: true }, { shared: false }])(
  'a state of another home, store shared: $shared',
  async ({ shared }) => {
    await using own = await GatewayRig.start();
    await using other = await GatewayRig.start(shared ? own.objects : memoryStore(), 'other');
    const { volumeId } = await own.call('volume.create', { name: 'golden', sizeBytes: 4096 });
    const before = await readFile(stateOf(own));
    await copyFile(stateOf(other), stateOf(own));

    await using swapped = own.again();
    for (const work of [
      async () => await swapped.call('volume.list', {}),
      async () => await swapped.call('volume.delete', { volume: volumeId }),
      async () => await swapped.call('store.gc', { graceMs: 0 }),
    ])
      await expect(work()).rejects.toMatchObject({ kind: 'corrupt', code: 'state-damaged' });
    expect((await readFile(stateOf(own))).equals(await readFile(stateOf(other)))).toBe(true);

    await writeFile(stateOf(own), before);
    await using mended = own.again();
    expect((await mended.call('volume.list', {})).volumes).toMatchObject([{ volumeId, state: 'available' }]);
  },
);
