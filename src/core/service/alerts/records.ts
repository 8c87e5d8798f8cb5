/** What the store keeps of alerts (docs/formats/service.md). */
import type { AlertThresholds, ThresholdName } from '../../protocol/index.ts';

/** `service/alerts/<accountId>/<alertId>.json` */
export interface StoredAlert {
  readonly alertId: string;
  readonly accountId: string;
  readonly name: string;
  readonly gatewayId: string | null;
  readonly thresholds: AlertThresholds;
  readonly webhookUrl: string;
  readonly repeatMs: number | null;
  /** Sealed by the service key for this document's key. */
  readonly sealedSecret: string;
  readonly createdAt: string;
}

/** What the webhook is to be told. Kept until it took it, so that any server goes on. */
export interface PendingMessage {
  /** The same at each try. */
  readonly messageId: string;
  readonly kind: 'firing' | 'resolved';
  readonly at: string;
  /** Tries that were begun. */
  readonly attempts: number;
  /** Not before. A try moves it on before it begins, so that two servers never try at once. */
  readonly nextAttemptAt: string;
}

/** A threshold of one alert at one gateway, from when it was passed until its end was told. */
export interface FiringState {
  readonly alertId: string;
  readonly threshold: ThresholdName;
  readonly state: 'firing' | 'resolved';
  readonly since: string;
  /** As measured last, in the threshold's unit; null where it has none. */
  readonly value: number | null;
  /** What is above it: names of volumes, at most 16. */
  readonly subjects: readonly string[];
  readonly message: PendingMessage | null;
  readonly deliveredAt: string | null;
  readonly failure: string | null;
}

/** `service/alert-states/<accountId>/<gatewayId>.json` */
export interface WatchState {
  readonly gatewayId: string;
  readonly accountId: string;
  /** The server that looks at the gateway, and until when no other does. */
  readonly watcher: { readonly serverId: string; readonly until: string } | null;
  /** Since when no server had a connection of it; null while one has. */
  readonly disconnectedSince: string | null;
  readonly firing: readonly FiringState[];
}
