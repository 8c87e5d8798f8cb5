import { MIB, VolumeRig } from '../unit/volume/rig.ts';
import { blockDeviceContract } from './blockdevice.ts';

blockDeviceContract('cached volume', async (sizeBytes) => {
  const rig = await VolumeRig.start(sizeBytes);
  let volume = await rig.open({ bufferBytes: 16 * MIB });
  let turn = 0;
  return {
    get device() {
      return volume;
    },
    // Uploads, forgets the cache, opens anew with or without uploading: contents stay.
    disturb: async () => {
      turn += 1;
      if (turn % 4 === 1) await volume.drain();
      else if (turn % 4 === 2) {
        await volume.drain();
        await rig.freshCache();
        await volume.close({ drain: true });
        volume = await rig.open({ bufferBytes: 16 * MIB });
      } else if (turn % 4 === 3) {
        await volume.close();
        volume = await rig.open({ bufferBytes: 16 * MIB });
      }
    },
    resize: async (size) => volume.resize(size),
    close: async () => {
      await volume.close();
      await rig[Symbol.asyncDispose]();
    },
  };
});
