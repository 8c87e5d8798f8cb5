import { Holders } from '../unit/follow/holders.ts';
import { blockDeviceContract, type DeviceUnderTest } from './blockdevice.ts';

async function open(sizeBytes: number, isReadOnly = false): Promise<DeviceUnderTest> {
  const holders = await Holders.open({ sizeBytes, isReadOnly });
  const device = await holders.follow();
  return {
    device,
    // The connection is lost, now and then, with what is under way.
    disturb: async () => {
      holders.current.link.cut();
      return Promise.resolve();
    },
    close: async () => holders[Symbol.asyncDispose](),
  };
}

blockDeviceContract('following', async (sizeBytes) => open(sizeBytes), {
  openReadOnly: async (sizeBytes) => open(sizeBytes, true),
  runs: 10,
});
