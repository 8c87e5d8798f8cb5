/**
 * The composition root of a server of the service. Its state is in the store; it may be killed at any moment, and any number of
 * servers run over one store.
 *
 * Order of the start: service key, store and its key, identity (made by the first server), certificates, listeners, then it
 * tells that it is ready. Order of the end: new requests are refused, those under way answered, listeners, store.
 */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { encryptionOf, readStoreInfo } from '../../blockstore/index.ts';
import { serveMetrics } from '../../control/server/index.ts';
import { SgwError, systemClock, systemRandom, toSgwError, type Logger } from '../../kit/index.ts';
import type { ServiceReadyDocument } from '../../localapi/index.ts';
import type { ObjectStore } from '../../objectstore/index.ts';
import {
  openNetworkService,
  ServerMetrics,
  ServiceServer,
  type NetworkService,
  type Place,
  type ServiceKey,
} from '../../service/server/index.ts';
import { prune } from '../../service/pruning/index.ts';
import { GarbageSchedule } from '../../service/dataendpoint/index.ts';
import { partsOf } from '../parts.ts';
import { openLog, watchBugs, type LogLevel, type LogSink } from '../run/index.ts';
import type { ControlPlane } from '../../service/controlplane/index.ts';
import { openControlPlane } from './control.ts';
import { watchAlerts } from './alerts.ts';
import { composeFrontEnds } from './front-ends.ts';
import { storeHealth } from './health.ts';
import { ListenerCertificates, type CertificateFiles } from './listener-certificates.ts';
import { openServiceKey } from './service-key-file.ts';
import { openSecrets, type StoreWishes } from './open-store.ts';

export interface ServiceRunOptions extends StoreWishes {
  /** A directory or the URL of a bucket; in the home when null. */
  readonly store: string | null;
  /** Made when it is null, in the home; one that is named must be there. */
  readonly serviceKeyFile: string | null;
  readonly listen: Place;
  readonly gatewayListen: Place;
  /** `HOST:PORT` that gateways are told to connect to, where that is not where it listens. */
  readonly gatewayAddress: string | null;
  readonly metricsListen: Place | null;
  /** Names and addresses that it is reached by, for its certificates. */
  readonly names: readonly string[];
  readonly files: CertificateFiles | null;
  readonly region: string;
  /** The bus between servers; within this one when null. */
  readonly nats: string | null;
  readonly newRootKey: boolean;
  /** Webhooks of alerts may be at addresses of loopback, link-local and private networks. */
  readonly alertAllowPrivate: boolean;
  /** Null: this server does not collect the store. */
  readonly gcEveryMs: number | null;
  /** Null: for ever. */
  readonly auditKeepMs: number | null;
  readonly drainTimeoutMs: number;
  readonly log: { readonly level: LogLevel; readonly sink: LogSink };
  /** Ends the server, draining, when it fires. */
  readonly signal: AbortSignal;
  /** The one place where a secret is told that was made. */
  readonly onReady: (ready: ServiceReadyDocument) => Promise<void>;
}

/** Runs a server until it is stopped. @throws what opening the store, the service key or a listener throws */
export async function runService(options: ServiceRunOptions): Promise<void> {
  const log = openLog(options.log.level, options.log.sink);
  using _watch = watchBugs(log, 'service');
  const { version, openStore } = await partsOf(options.home);
  const place = options.store ?? join(options.home, 'store');
  // Before anything is begun: who named a file meant one that is there.
  const { serviceKeyFile } = options;
  const named =
    serviceKeyFile === null ? undefined : await openServiceKey(serviceKeyFile, systemRandom, { mayMake: false });
  const objects = await openStore(place, { create: true });
  try {
    const { serviceKey, ...opened } = await openSecrets(options, { objects, place, named });
    const info = await readStoreInfo(opened.blocks.objects, { signal: options.signal });
    if (info === undefined)
      throw new SgwError('corrupt', 'object-missing', 'object sgw.json is missing from the store');
    const context = { ...opened, serviceId: info.storeId, isEmbedded: false };
    const service = await openNetworkService(context, serviceKey, options, options.signal);
    const keys = encryptionOf(info);
    await serve(options, { service, serviceKey, objects, log, version, place, keys });
    log.info({}, 'ended');
  } catch (error) {
    throw options.signal.aborted ? (options.signal.reason as SgwError) : toSgwError(error);
  } finally {
    await objects.close();
  }
}

interface Opened {
  readonly service: NetworkService;
  readonly serviceKey: ServiceKey;
  readonly objects: ObjectStore;
  readonly log: Logger;
  readonly version: string;
  readonly place: string;
  readonly keys: ServiceReadyDocument['keys'];
}

async function serve(options: ServiceRunOptions, opened: Opened): Promise<void> {
  const { listen, gatewayListen, names, files, signal, drainTimeoutMs, metricsListen, nats } = options;
  const { service, objects, log, version } = opened;
  const places = { api: listen, gateways: gatewayListen };
  const certificates = new ListenerCertificates(service.authority, { places, names, files });
  const metrics = new ServerMetrics(version);
  let gatewayAddress = '';
  const late: { plane?: ControlPlane } = {};
  const about = () => ({
    serviceId: service.context.serviceId,
    region: options.region,
    gatewayAddress,
    caFingerprint: service.authority.fingerprint,
  });
  const server = new ServiceServer({
    ...{
      tls: await certificates.open(),
      ca: service.authority.certificate,
      principals: service.principals,
      isProved: (headers) => service.authenticator.hasProved(headers),
      metrics,
      log,
    },
    frontEnds: (gatewayOf) =>
      composeFrontEnds({ ...opened, region: options.region, about, gatewayOf, plane: () => late.plane }),
    isHealthy: storeHealth(objects, systemClock),
    clock: systemClock,
  });
  const ports = await server.listen(places);
  gatewayAddress = options.gatewayAddress ?? addressOf(gatewayListen.host, ports.gateways);
  const plane = await openOr(server, async () => openControlPlane({ ...opened, nats, gatewayAddress }, signal));
  late.plane = plane;
  await using watching = watchAlerts(opened, plane, options);
  await using _collecting = collectStore(opened, options);
  const figures = async (): Promise<string> => `${await metrics.text()}\n${await plane.metrics.text()}`;
  const metricsListener =
    metricsListen === null ? undefined : await openOr(server, async () => serveMetrics(figures, metricsListen));
  using _renewing = certificates.watch(
    (listener, tls) => {
      server.renew(listener, tls);
    },
    systemClock,
    log,
  );
  try {
    const metricsUrl =
      metricsListener === undefined
        ? null
        : `http://${bracketed(metricsListen?.host ?? '', metricsListener.port)}/metrics`;
    const url = `https://${addressOf(listen.host, ports.api)}`;
    log.info({ url, gatewayAddress, metricsUrl, version, node: process.versions.node }, 'ready');
    if (!service.hasRootKey)
      log.warn({}, 'the root account has no access key: start once with --new-root-key to get one');
    await options.onReady(readyDocument(options, opened, { url, gatewayAddress, metricsUrl }));
    await fired(signal);
    // Before gateways are sent to other servers, and seem to be gone for a moment.
    await watching.close();
    await drain(server, drainTimeoutMs, log);
  } finally {
    await server.close(AbortSignal.abort());
    await metricsListener?.close();
  }
}

/** gc of the store, and of the service's own documents, by one server at a time; ends a run that is under way when it is disposed of. */
function collectStore({ service, log }: Opened, options: ServiceRunOptions): AsyncDisposable {
  const { gcEveryMs: everyMs, auditKeepMs: auditMs } = options;
  const { context } = service;
  const pruning = async (signal: AbortSignal): Promise<object> => prune(context, { auditMs }, signal);
  const schedule = everyMs === null ? undefined : new GarbageSchedule({ context, log, everyMs, prune: pruning });
  schedule?.start();
  return {
    [Symbol.asyncDispose]: async () => {
      await schedule?.close();
    },
  };
}

/** A server that can't have all that it is to have does not run. */
async function openOr<T>(server: ServiceServer, open: () => Promise<T>): Promise<T> {
  try {
    return await open();
  } catch (error) {
    await server.close(AbortSignal.abort());
    throw error;
  }
}

function readyDocument(
  { region }: ServiceRunOptions,
  { service, version, place, keys }: Opened,
  reached: Pick<ServiceReadyDocument, 'url' | 'gatewayAddress' | 'metricsUrl'>,
): ServiceReadyDocument {
  const { rootKey, rootAccountId, authority, context } = service;
  return {
    ...reached,
    serviceId: context.serviceId,
    region,
    store: place,
    keys,
    caFingerprint: `sha256:${authority.fingerprint}`,
    rootAccountId,
    rootKey: rootKey === null ? null : { accessKeyId: rootKey.accessKeyId, secretAccessKey: rootKey.secretAccessKey },
    pid: process.pid,
    version,
  };
}

async function drain(server: ServiceServer, timeoutMs: number, log: Logger): Promise<void> {
  log.info({ timeoutMs }, 'draining');
  const hurry = new AbortController();
  const deadline = setTimeout(() => {
    hurry.abort();
  }, timeoutMs);
  try {
    const isWhole = await server.close(hurry.signal);
    log.info({ cut: !isWhole }, 'drained');
  } finally {
    clearTimeout(deadline);
  }
}

async function fired(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}

/** What others reach a listener by. */
function addressOf(host: string, port: number): string {
  return bracketed(host === '0.0.0.0' || host === '::' ? hostname() : host, port);
}

const bracketed = (host: string, port: number): string => `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
