import { MemoryDevice } from '../../src/core/blockdevice/index.ts';
import { KIB, SgwError, systemClock } from '../../src/core/kit/index.ts';
import { beginImage, Restore } from '../../src/core/restore/index.ts';
import { ForgetfulImage } from '../fault/forgetful-image.ts';
import { blockDeviceContract, type DeviceUnderTest } from './blockdevice.ts';
import { seededRandom } from '../../src/core/kit/index.ts';

const GARBAGE = seededRandom(7).bytes(4096);
const done = async (): Promise<void> => Promise.resolve();

/** A restore of a snapshot of zeroes, over an image of something else; `runs`: with the background at work. */
async function open(sizeBytes: number, runs: boolean): Promise<DeviceUnderTest> {
  const image = new ForgetfulImage(Buffer.alloc(sizeBytes, GARBAGE));
  const secret = { restoreId: 'a restore', secret: Buffer.alloc(32, 5) };
  const geometry = { sizeBytes, blockBytes: 64 * KIB };
  const parts = {
    image,
    source: new MemoryDevice(sizeBytes),
    geometry,
    secret,
    clock: systemClock,
    isServed: false,
    onFinishing: done,
    onCompleted: done,
  };
  await beginImage(parts, new AbortController().signal);
  const restore = new Restore(parts);
  const opened: Restore[] = [restore];
  const ended = runs
    ? restore.run().catch((error: unknown) => {
        if (!(error instanceof SgwError) || error.code !== 'restore-closed') throw error;
      })
    : done();
  return {
    device: restore.device,
    afterPowerLoss: async () => {
      const again = new Restore({ ...parts, image: image.afterCut(seededRandom(1), 512) });
      opened.push(again);
      return Promise.resolve(again.device);
    },
    close: async () => {
      for (const one of opened) await one.close();
      await ended;
    },
  };
}

blockDeviceContract('restoring image', async (sizeBytes) => open(sizeBytes, false));
blockDeviceContract('restoring image, with the background at work', async (sizeBytes) => open(sizeBytes, true));
