/** What serving is made of in this program: cached volumes over files of the home, one cache, threads for encoding and decoding. */
import { FramePool } from '../../blockstore/index.ts';
import { openFrameCache } from '../../cache/index.ts';
import type { ServingParts } from '../../gateway/index.ts';
import type { Logger } from '../../kit/index.ts';
import {
  directoryShadowDisk,
  openCachedVolume,
  openShadowVolume,
  openViewDevice,
  type VolumeEvent,
} from '../../volume/index.ts';
import { directoryDisk } from '../../writelog/index.ts';

/** Uploads give way to clients: while the machine has better to do, the write log grows. */
const ENCODING_NICENESS = 10;

/** The threads belong to the process: they start when they are needed, and end with `close`. */
export interface OwnedServingParts extends ServingParts {
  close(): Promise<void>;
}

export function servingParts(log: Logger): OwnedServingParts {
  const encoders = new FramePool({ niceness: ENCODING_NICENESS });
  const decoders = new FramePool();
  return {
    openCache: async (directory, limits) =>
      await openFrameCache({
        directory,
        limits,
        onProblem: (problem) => {
          log.warn({ problem }, 'the cache goes on without its file');
        },
      }),
    openVolume: async ({ logFolder, cache, group, ...request }) =>
      await openCachedVolume({
        ...request,
        ...group,
        disk: directoryDisk(logFolder),
        cache,
        pool: encoders,
        decoders,
        onEvent: (event) => {
          report(log, request.volumeId, event);
        },
      }),
    openShadow: async ({ logFolder, shadowFolder, group, ...request }) => {
      try {
        return await openShadowVolume({
          ...request,
          ...group,
          shadowDisk: directoryShadowDisk(shadowFolder),
          disk: directoryDisk(logFolder),
          pool: encoders,
          decoders,
          onEvent: (event) => {
            report(log, request.volumeId, event);
          },
        });
      } catch (error) {
        await request.image.close();
        throw error;
      }
    },
    openView: async ({ blocks, view, cache, readAheadBytes }) =>
      Promise.resolve(openViewDevice({ view, cache, pool: decoders, clock: blocks.clock, readAheadBytes })),
    close: async () => {
      await encoders[Symbol.asyncDispose]();
      await decoders[Symbol.asyncDispose]();
    },
  };
}

function report(log: Logger, volumeId: string, event: VolumeEvent): void {
  switch (event.kind) {
    case 'replayed':
      log.info({ volumeId, records: event.records }, 'the write log holds records that are not in the store');
      return;
    case 'setAside': {
      const { path, lostRecords } = event;
      log.error({ volumeId, path, lostRecords }, 'the write log was set aside: what it alone has is not in the volume');
      return;
    }
    case 'damaged':
      log.error({ volumeId, reason: event.reason }, 'the write log is damaged: the volume is served read-only');
      return;
    case 'trouble':
      log.warn({ volumeId, err: event.error }, 'uploading failed and is tried again');
      return;
    case 'recovered':
      log.info({ volumeId }, 'uploading goes on');
      return;
    case 'remark':
      log.warn({ volumeId }, event.text);
      return;
    case 'failed':
      log.error({ volumeId, err: event.error }, 'nothing is acknowledged any more');
      return;
  }
}
