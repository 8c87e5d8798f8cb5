/** The part of the fake gateway that is a daemon, or is missing one. */
import type { SgwError as SgwErrorClass } from '../../src/core/kit/index.ts';
import type { Handlers, GatewayDocument } from '../../src/core/localapi/index.ts';

const TIME = '2026-11-22T23:45:00.000Z';

/** Volume `golden` under a little load; each look finds it further. */
export function servedGateway(look: number): GatewayDocument {
  return {
    gatewayId: 'sgw-00000001',
    name: 'lab',
    mode: 'cached',
    version: '0.0.0',
    home: '/home/fake',
    state: 'serving',
    pid: 4711,
    startedAt: TIME,
    uptimeMs: 60_000 + look * 1000,
    socket: '/home/fake/gateway.sock',
    metricsUrl: null,
    background: true,
    calls: 0,
    memory: { residentBytes: 80 << 20, heapBytes: 20 << 20 },
    cpuMs: 1500 + look * 250,
    cache: null,
    networkInterfaces: [{ name: 'eth0', ipv4Address: '192.0.2.7', ipv6Address: null, macAddress: '02:00:00:00:00:01' }],
    disks: [
      {
        diskId: 'cache',
        path: '/home/fake/cache',
        use: 'cache',
        sizeBytes: 10 << 20,
        allocatedBytes: null,
        volumeId: null,
      },
    ],
    exports: [],
    volumes: [
      {
        volumeId: 'vol-00000000000000001',
        name: 'golden',
        exportName: 'golden',
        readOnly: false,
        state: 'available',
        reason: null,
        sizeBytes: 1 << 30,
        mappedBytes: 1 << 20,
        seq: 3,
        epoch: 1,
        ack: 'log',
        connections: 1,
        readOps: 1000 * look,
        readBytes: 4_096_000 * look,
        readMs: 500 * look,
        writeOps: 200 * look,
        writeBytes: 819_200 * look,
        writeMs: 50 * look,
        flushOps: look,
        flushMs: 2 * look,
        logHits: 10 * look,
        cacheHits: 890 * look,
        storeReads: 100 * look,
        dirtyBytes: 1 << 20,
        dirtyMs: 1200,
        bufferBytes: 1 << 30,
        fullInMs: null,
        waitingWrites: 0,
        uploadedBytes: 0,
        downloadedBytes: 0,
        commits: 2,
        uploadErrors: 0,
        shadow: null,
        lastCommitAt: TIME,
      },
    ],
  };
}

type Serving = Pick<
  Handlers,
  | 'gateway.show'
  | 'gateway.stop'
  | 'gateway.reload'
  | 'gateway.logs'
  | 'gateway.metrics'
  | 'gateway.suspend'
  | 'gateway.resume'
  | 'gateway.reset-cache'
>;

export function servingHandlers(isRunning: boolean, SgwError: typeof SgwErrorClass): Serving {
  let looks = 0;
  const requireDaemon = (): void => {
    if (isRunning) return;
    throw new SgwError('unavailable', 'daemon-needed', 'this needs the gateway daemon, which does not run', {
      hint: 'Start it: sgw gateway start',
    });
  };
  return {
    'gateway.show': async () => {
      requireDaemon();
      return servedGateway(++looks);
    },
    'gateway.stop': async () => {
      requireDaemon();
      return { stopped: true, pid: 4711, drained: true, dirtyBytes: 0, durationMs: 5 };
    },
    'gateway.reload': async () => {
      requireDaemon();
      return { pid: 4711, changes: [] };
    },
    'gateway.logs': async () => {
      requireDaemon();
      return { lines: [], next: 0 };
    },
    'gateway.metrics': async () => {
      requireDaemon();
      return { text: '' };
    },
    'gateway.reset-cache': async () => {
      requireDaemon();
      return { pid: 4711, changes: [] };
    },
    'gateway.suspend': async () => {
      requireDaemon();
      return { pid: 4711, changes: [] };
    },
    'gateway.resume': async () => {
      requireDaemon();
      return { pid: 4711, changes: [] };
    },
  };
}
