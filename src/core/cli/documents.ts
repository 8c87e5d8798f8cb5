/**
 * The result documents of commands that answer with more than one operation does: `configure`, `demo`,
 * and progress on standard error. As in `localapi/schemas.ts`, fields are only ever added; only tests
 * and the schema writer load this module at run time.
 */
import Type, { type Static } from 'typebox';

const textOrNull = Type.Union([Type.String(), Type.Null()]);
const countOrNull = Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]);

/** As an attachment has it. */
const Shadow = Type.Object(
  {
    phase: Type.Union([
      Type.Literal('bootstrapping'),
      Type.Literal('comparing'),
      Type.Literal('pass-through'),
      Type.Literal('resyncing'),
      Type.Literal('steady'),
    ]),
    doneBytes: Type.Integer({ minimum: 0 }),
    totalBytes: Type.Integer({ minimum: 0 }),
    leftMs: Type.Union([Type.Number({ minimum: 0 }), Type.Null()]),
    touchedBytes: Type.Integer({ minimum: 0 }),
    markedRegions: Type.Integer({ minimum: 0 }),
  },
  { additionalProperties: false },
);

export const Configuration = Type.Object(
  {
    gateway: Type.Union([
      Type.Object(
        {
          name: Type.String(),
          mode: Type.Union([Type.Literal('cached'), Type.Literal('shadowing')]),
          version: Type.Integer({ minimum: 1 }),
          /** Absent where the service is embedded. */
          remoteManagement: Type.Optional(Type.Boolean()),
          /** Where members of its group connect to it; null: a port of this machine alone. */
          peerListen: textOrNull,
          /** A program that is run after a take-over; null: none. */
          onTakeover: textOrNull,
          /** As the operation tells it; null: the default. */
          serving: Type.Object(
            {
              listen: Type.Array(Type.String()),
              tls: Type.Union([Type.Literal('off'), Type.Literal('on'), Type.Literal('require')]),
              tlsCertificate: textOrNull,
              tlsKey: textOrNull,
              tlsCa: textOrNull,
              tlsPsk: textOrNull,
              listExports: Type.Boolean(),
              defaultExport: textOrNull,
              iscsiListen: Type.Array(Type.String()),
              iscsiPortals: Type.Array(Type.String()),
              iscsiDiscoveryUser: textOrNull,
              cacheBytes: countOrNull,
              cacheRamBytes: countOrNull,
              bufferBytes: countOrNull,
              sealIntervalMs: countOrNull,
              readAheadBytes: countOrNull,
            },
            { additionalProperties: false },
          ),
          /** Of a gateway whose configuration a provider owns. */
          provider: Type.Optional(
            Type.Object(
              {
                service: Type.String(),
                version: Type.Integer({ minimum: 0 }),
                request: Type.Union([
                  Type.Object(
                    {
                      requestId: Type.String(),
                      requestedAt: Type.String({ format: 'date-time' }),
                      settings: Type.Record(
                        Type.String(),
                        Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]),
                      ),
                    },
                    { additionalProperties: false },
                  ),
                  Type.Null(),
                ]),
                answer: Type.Union([
                  Type.Object(
                    {
                      requestId: Type.String(),
                      accepted: Type.Boolean(),
                      answeredAt: Type.String({ format: 'date-time' }),
                      reason: textOrNull,
                    },
                    { additionalProperties: false },
                  ),
                  Type.Null(),
                ]),
              },
              { additionalProperties: false },
            ),
          ),
        },
        { additionalProperties: false },
      ),
      Type.Null(),
    ]),
    preferences: Type.Object(
      {
        defaultHome: Type.Union([Type.String(), Type.Null()]),
        output: Type.Union([Type.Literal('text'), Type.Literal('json')]),
        color: Type.Union([Type.Literal('auto'), Type.Literal('never')]),
        service: Type.Optional(
          Type.Union([
            Type.Object({ url: Type.String(), accessKeyId: Type.String() }, { additionalProperties: false }),
            Type.Null(),
          ]),
        ),
      },
      { additionalProperties: false },
    ),
    changed: Type.Array(Type.String(), { description: 'names of the settings that this call changed' }),
    applied: Type.Array(Type.String(), { description: 'sentences: what a running daemon does otherwise since' }),
    /** Absent as `provider`. */
    requested: Type.Optional(
      Type.Array(Type.String(), { description: 'names of the settings that this call asked the provider for' }),
    ),
  },
  { $id: 'configure', additionalProperties: false },
);

export const Demo = Type.Object(
  {
    home: Type.String({ description: 'absolute path of the home that the demo used' }),
    kept: Type.Boolean({ description: 'false when the home was removed at the end' }),
    image: Type.String({ description: 'the image that was imported' }),
    sizeBytes: Type.Integer({ minimum: 0 }),
    identical: Type.Boolean({ description: 'whether the exports were byte-identical to what was imported' }),
    steps: Type.Array(
      Type.Object(
        { command: Type.String(), outcome: Type.String(), durationMs: Type.Integer({ minimum: 0 }) },
        { additionalProperties: false },
      ),
    ),
    durationMs: Type.Integer({ minimum: 0 }),
  },
  { $id: 'demo', additionalProperties: false },
);

export const ProgressLine = Type.Object(
  {
    progress: Type.Object(
      {
        label: Type.String(),
        doneBytes: Type.Integer({ minimum: 0 }),
        totalBytes: Type.Integer({ minimum: 0 }),
        bytesPerSecond: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]),
        secondsLeft: Type.Union([Type.Integer({ minimum: 0 }), Type.Null()]),
      },
      { additionalProperties: false },
    ),
  },
  { $id: 'progress', additionalProperties: false },
);

export const GatewayStart = Type.Object(
  {
    started: Type.Boolean({ description: 'false when it ran already' }),
    pid: Type.Integer({ minimum: 1 }),
    socket: Type.String(),
    log: Type.String({ description: 'path of the log' }),
    durationMs: Type.Integer({ minimum: 0 }),
  },
  { $id: 'gateway-start', additionalProperties: false },
);

export const GatewayRestart = Type.Object(
  {
    previousPid: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]),
    pid: Type.Integer({ minimum: 1 }),
    socket: Type.String(),
    log: Type.String({ description: 'path of the log' }),
    pauseMs: Type.Integer({ minimum: 0 }),
  },
  { $id: 'gateway-restart', additionalProperties: false },
);

export const LogLine = Type.Object(
  {
    time: Type.Union([Type.String({ format: 'date-time' }), Type.Null()]),
    level: Type.String(),
    message: Type.String(),
    details: Type.Record(Type.String(), Type.Unknown()),
  },
  { $id: 'log-line', additionalProperties: false },
);

const Share = Type.Number({ minimum: 0 });
const Rate = Type.Integer({ minimum: 0 });
const MeanMs = Type.Union([Type.Number({ minimum: 0 }), Type.Null()]);

export const GatewayTop = Type.Object(
  {
    time: Type.String({ format: 'date-time' }),
    name: Type.String(),
    mode: Type.String(),
    state: Type.String(),
    pid: Type.Integer({ minimum: 1 }),
    uptimeMs: Type.Integer({ minimum: 0 }),
    intervalMs: Type.Integer({ minimum: 1 }),
    residentBytes: Type.Integer({ minimum: 0 }),
    processorShare: Share,
    volumes: Type.Array(
      Type.Object(
        {
          volumeId: Type.String(),
          name: Type.String(),
          exportName: Type.Union([Type.String(), Type.Null()]),
          state: Type.String(),
          reason: Type.Union([Type.String(), Type.Null()]),
          /** How far the store follows the image; null for a cached volume. */
          shadow: Type.Union([Shadow, Type.Null()]),
          readOpsPerSecond: Rate,
          writeOpsPerSecond: Rate,
          flushOpsPerSecond: Rate,
          readBytesPerSecond: Rate,
          writeBytesPerSecond: Rate,
          readLatencyMs: MeanMs,
          writeLatencyMs: MeanMs,
          flushLatencyMs: MeanMs,
          hitRate: Type.Union([Share, Type.Null()]),
          uploadedBytesPerSecond: Rate,
          downloadedBytesPerSecond: Rate,
          bufferShare: Share,
          waitingWrites: Type.Integer({ minimum: 0 }),
          dirtyBytes: Type.Integer({ minimum: 0 }),
          dirtyMs: Type.Number({ minimum: 0 }),
          fullInMs: MeanMs,
        },
        { additionalProperties: false },
      ),
    ),
  },
  { $id: 'gateway-top', additionalProperties: false },
);

/** What `volume connect` tells, one document a line; null where a field says nothing of the event. */
export const VolumeConnectEvent = Type.Object(
  {
    event: Type.Union([
      Type.Literal('ready'),
      Type.Literal('found'),
      Type.Literal('lost'),
      Type.Literal('silent'),
      Type.Literal('resumed'),
      Type.Literal('looking'),
      Type.Literal('resized'),
      Type.Literal('closed'),
    ]),
    time: Type.String({ format: 'date-time' }),
    exportName: Type.String(),
    listen: Type.Union([Type.Array(Type.String()), Type.Null()]),
    uris: Type.Union([Type.Array(Type.String()), Type.Null()]),
    address: textOrNull,
    epoch: countOrNull,
    sizeBytes: countOrNull,
    afterMs: countOrNull,
    waiting: countOrNull,
    repeated: countOrNull,
    reason: textOrNull,
    code: textOrNull,
  },
  { $id: 'volume-connect', additionalProperties: false },
);

export type ConnectEvent = Static<typeof VolumeConnectEvent>;
export type TopDocument = Static<typeof GatewayTop>;
export type GatewayStartDocument = Static<typeof GatewayStart>;
export type GatewayRestartDocument = Static<typeof GatewayRestart>;
export type LogLineDocument = Static<typeof LogLine>;
export type ConfigurationDocument = Static<typeof Configuration>;
export type DemoDocument = Static<typeof Demo>;
