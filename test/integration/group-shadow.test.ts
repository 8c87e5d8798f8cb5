/** A gateway that shadows an image is lost: another member of its group, which has no image, serves the shadow. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { PAGE } from '../soak/served/stamps.ts';
import { GroupRig } from './group-rig.ts';

const MIB = 1 << 20;
const SIZE_BYTES = 16 * MIB;

it('C19 C27: the successor serves the shadow at once, as the image was; the holder of before leaves its image alone when it is back', async () => {
  const place = { store: '', image: '' };
  await using group = await GroupRig.start(['one', 'two'], {
    ...{ sizeBytes: SIZE_BYTES, replicas: 1 },
    activate: async ({ name, rig }) => {
      const store = place.store === '' ? [] : ['--store', place.store];
      await rig.ok('activate', '--name', name, '--mode', 'shadowing', ...store);
      if (place.store === '') place.store = path.join(rig.home, 'store');
    },
    attach: async (first) => {
      place.image = first.rig.file('disk.img', Buffer.alloc(SIZE_BYTES, 3));
      await first.call('volume.attach', { volume: 'disk', image: place.image });
    },
  });
  const [one, two] = group.members;
  if (one === undefined || two === undefined) throw new Error('there are two');
  const { image } = place;
  await group.waitFor('all of the image is in the store', async () => {
    const { attachment } = await one.call('volume.show', { volume: 'disk' });
    return (attachment?.shadow?.phase === 'steady' && attachment.dirtyBytes === 0) || undefined;
  });
  // From here on nothing is uploaded by itself.
  await one.call('volume.configure', { volume: 'disk', sealIntervalMs: 3_600_000 });
  const direct = await NbdClient.connect(one.socket, 'disk');
  await direct.write(MIB, Buffer.alloc(MIB, 4));
  for (let page = 0; page < 64; page++) await direct.write(page * 7 * PAGE, Buffer.alloc(PAGE, 5 + (page % 3)));
  await direct.flush();
  expect(statSync(image).size).toBe(SIZE_BYTES);
  await one.kill();
  direct.close();
  const acknowledged = readFileSync(image);
  const killedMs = performance.now();
  expect((await group.holder()).name).toBe('two');
  process.stderr.write(
    `a shadowing holder killed: served again after ${(performance.now() - killedMs).toFixed(0)} ms\n`,
  );
  const successor = await NbdClient.connect(two.socket, 'disk');
  expect((await successor.read(0, SIZE_BYTES)).equals(acknowledged)).toBe(true);
  await successor.write(2 * MIB, Buffer.alloc(MIB, 9));
  await one.start();
  await group.inSync(1);
  await successor.write(3 * MIB, Buffer.alloc(MIB, 10));
  await successor.flush();
  await delay(1000);
  expect(readFileSync(image).equals(acknowledged)).toBe(true);
  expect((await successor.read(2 * MIB, PAGE)).equals(Buffer.alloc(PAGE, 9))).toBe(true);
  await expect(NbdClient.connect(one.socket, 'disk')).rejects.toThrow();
  successor.close();
}, 300_000);
