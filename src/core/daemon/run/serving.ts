/** What the daemon serves to clients of its volumes, as its process sees it: begun after the local API's parts, ended before them. */
import type { GatewayDocument } from '../../localapi/index.ts';

export interface Drained {
  /** Whether all that was acknowledged is in the store. */
  readonly drained: boolean;
  /** What is only in the write logs of this home. */
  readonly dirtyBytes: number;
}

export interface Serving {
  /** Serves again what the state says was served. */
  start(): Promise<void>;
  /** Reads the configuration again; tells what is different, a sentence each. */
  reload(): Promise<readonly string[]>;
  /**
   * Takes no more clients, brings what is not in the store there (with `drain`, until `signal` fires), and closes the volumes
   * with clean logs. Never fails for what could not be drained. Idempotent.
   */
  stop(options: {
    readonly drain: boolean;
    readonly signal: AbortSignal;
    readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  }): Promise<Drained>;
  show(): Pick<GatewayDocument, 'volumes' | 'cache'>;
  /** In the text format of Prometheus; empty when there is nothing to tell. */
  metrics(): Promise<string>;
}

/** Of a gateway that serves no volumes. */
export const nothingServed: Serving = {
  start: async () => Promise.resolve(),
  reload: async () => Promise.resolve([]),
  stop: async () => Promise.resolve({ drained: true, dirtyBytes: 0 }),
  show: () => ({ volumes: [], cache: null }),
  metrics: async () => Promise.resolve(''),
};
