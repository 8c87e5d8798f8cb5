/** Limits of the traffic, as the gateway in memory has them. */
import type { BandwidthDocument, Handlers } from '../../src/core/localapi/index.ts';

const NONE = { uploadBytesPerSecond: null, downloadBytesPerSecond: null };

export function bandwidthHandlers(
  requireActivated: () => void,
): Pick<Handlers, 'bandwidth.set' | 'bandwidth.show' | 'bandwidth.remove'> {
  let bandwidth: BandwidthDocument = { ...NONE, schedule: [], now: NONE };
  const show = async (): Promise<BandwidthDocument> => {
    requireActivated();
    return Promise.resolve(bandwidth);
  };
  return {
    'bandwidth.set': async (input) => {
      requireActivated();
      bandwidth = { ...bandwidth, ...input };
      const { uploadBytesPerSecond, downloadBytesPerSecond } = bandwidth;
      bandwidth = { ...bandwidth, now: { uploadBytesPerSecond, downloadBytesPerSecond } };
      return await show();
    },
    'bandwidth.show': show,
    'bandwidth.remove': async () => {
      requireActivated();
      bandwidth = { ...NONE, schedule: [], now: NONE };
      return await show();
    },
  };
}
