/**
 * `POST /v1/gateways/<id>/operations/<operation>`: the local API of a gateway from afar, for its account and for root. The body is
 * a `CallRequest`, the answer lines of JSON, as over the gateway's own socket (localapi/wire.ts); an empty line is nothing but
 * a sign that the work goes on.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import Type from 'typebox';
import Value from 'typebox/value';
import { parseShallowJson, SgwError, toSgwError } from '../../kit/index.ts';
import type { CallRequest, Input, OperationName } from '../../localapi/index.ts';
import type { Audit } from '../audit/audit.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import { authorize, notFoundResource } from '../identity/authorization.ts';
import type { GatewayRecord, Gateways } from '../identity/gateways.ts';
import type { User } from '../identity/principal.ts';
import type { FrontEnd } from '../server/front-end.ts';
import type { GatewayCalls } from './gateway-calls.ts';
import { OperationReply } from './operation-reply.ts';

const PATH = '/v1/gateways/:gatewayId/operations/:operation';
/** Inputs are names, tags and paths, and go on to other servers in one message. */
const BODY_BYTES_MAX = 256 << 10;
/** Who asks ends the call by going away. */
const DEADLINE_MS = 24 * 3600 * 1000;
const CALLS_MAX = 1024;
/** An account's gateways may answer when they like: it waits with no more than this part of the calls. */
const CALLS_OF_ACCOUNT_MAX = 256;
const FIND_MS = 30_000;
const OPERATION = /^[a-z][a-z-]{0,31}(?:\.[a-z][a-z-]{0,31}){0,2}$/;

const Body = Type.Object(
  {
    input: Type.Object({}, { additionalProperties: true }),
    accountId: Type.Optional(Type.String({ pattern: '^[0-9]{12}$' })),
    lockTimeoutMs: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 }),
    /** Nobody is asked for a secret from afar. */
    secrets: Type.Array(Type.String({ maxLength: 16 }), { maxItems: 2 }),
  },
  { additionalProperties: false },
);

/** What root may do on a gateway of another account: look after it, and take nothing out of it. */
const FOR_ROOT: ReadonlySet<string> = new Set<OperationName>([
  'status',
  'doctor',
  'gateway.show',
  'gateway.logs',
  'gateway.metrics',
  'gateway.reload',
  'gateway.stop',
  'gateway.suspend',
  'gateway.resume',
  'bandwidth.show',
  'bandwidth.set',
  'bandwidth.remove',
  'schedule.show',
  'volume.list',
  'volume.show',
  'recovery-point.list',
  'snapshot.list',
  'snapshot.show',
  'store.stats',
]);

/** What ends or changes what a gateway serves as a whole: recorded whoever has it done. */
const RECORDED: ReadonlySet<string> = new Set<OperationName>([
  'configure',
  'deactivate',
  'gateway.reload',
  'gateway.stop',
  'gateway.suspend',
  'gateway.resume',
]);

export interface RemoteOperationsParts {
  readonly authenticator: Authenticator;
  readonly gateways: Pick<Gateways, 'find'>;
  readonly calls: GatewayCalls;
  readonly audit: Pick<Audit, 'record'>;
  /** Hears that a gateway is about to be resumed. */
  readonly onResume?: (gateway: Pick<GatewayRecord, 'accountId' | 'gatewayId'>, signal: AbortSignal) => Promise<void>;
}

type Request = FastifyRequest<{ Params: { gatewayId: string; operation: string }; Body: Buffer }>;

export function remoteOperations(parts: RemoteOperationsParts): FrontEnd {
  const calls = new Calls();
  return {
    name: 'remote',
    listener: 'api',
    add: (app) => {
      asTheyCome(app);
      app.post(PATH, { bodyLimit: BODY_BYTES_MAX }, async (request: Request, reply) => {
        const { method, url, headers, body } = request;
        const { user } = await parts.authenticator.verify({ method, url, headers, body }, 'sgw');
        const { gatewayId, operation } = request.params;
        const call = bodyOf(body);
        if (!OPERATION.test(operation)) throw unknownOperation(operation);
        const gateway = await gatewayFor(parts, user, { gatewayId, operation, accountId: call.accountId });
        const leave = calls.enter(user.accountId);
        try {
          if (operation === 'gateway.resume') await parts.onResume?.(gateway, AbortSignal.timeout(FIND_MS));
          await answer(parts.calls, gateway, { operation: operation as OperationName, call }, reply);
        } finally {
          leave();
        }
      });
    },
  };
}

/** Calls under way on this server, of all and of each account. */
class Calls {
  readonly #ofAccounts = new Map<string, number>();
  #all = 0;

  /** The returned function ends it. @throws unavailable `too-many-calls` */
  enter(accountId: string): () => void {
    const own = this.#ofAccounts.get(accountId) ?? 0;
    if (own >= CALLS_OF_ACCOUNT_MAX) throw tooManyCalls(own);
    if (this.#all >= CALLS_MAX) throw tooManyCalls(this.#all);
    this.#ofAccounts.set(accountId, own + 1);
    this.#all++;
    return () => {
      const left = (this.#ofAccounts.get(accountId) ?? 1) - 1;
      if (left > 0) this.#ofAccounts.set(accountId, left);
      else this.#ofAccounts.delete(accountId);
      this.#all--;
    };
  }
}

/** The body as it came: that is what is signed. */
function asTheyCome(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body);
  });
}

/**
 * The gateway, when the user may do this with it. What root does with another account's is recorded first, and so is what
 * `RECORDED` names.
 * @throws notFound `gateway-not-found`, also of another account's; denied `root-may-not`
 */
async function gatewayFor(
  { gateways, audit }: RemoteOperationsParts,
  user: User,
  asked: { readonly gatewayId: string; readonly operation: string; readonly accountId: string | undefined },
): Promise<GatewayRecord> {
  const { gatewayId, operation, accountId } = asked;
  const signal = AbortSignal.timeout(FIND_MS);
  const record = await gateways.find(gatewayId, signal);
  if (record?.state !== 'active') throw notFoundResource({ kind: 'gateway', id: gatewayId });
  const isOwn = record.accountId === user.accountId;
  const mayOperate = isOwn || (user.isRoot && FOR_ROOT.has(operation));
  // Of others nothing is written: it would take longer than for a gateway that is not there.
  if (isOwn ? RECORDED.has(operation) : user.isRoot) {
    const { accountId: by, accessKeyId } = user;
    const who = { gatewayId, accountId: by, accessKeyId };
    await audit.record({ kind: 'operate', ...who, operation, granted: mayOperate }, signal);
  }
  authorize(user, 'administer', { kind: 'gateway', id: gatewayId, accountId: record.accountId });
  // Over the network a gateway acts for its own account.
  if (accountId !== undefined && accountId !== record.accountId)
    throw new SgwError('denied', 'gateway-of-other-account', `gateway ${gatewayId} acts for its own account`, {
      hint: 'Leave --account out, or use a gateway of that account.',
    });
  if (!mayOperate) throw rootMayNot(operation);
  return record;
}

async function answer(
  calls: GatewayCalls,
  { gatewayId, accountId }: GatewayRecord,
  { operation, call }: { readonly operation: OperationName; readonly call: CallRequest },
  reply: FastifyReply,
): Promise<void> {
  void reply.hijack();
  const gone = new AbortController();
  using lines = new OperationReply(reply.raw, () => {
    gone.abort(new SgwError('aborted', 'caller-gone', 'the caller went away'));
  });
  try {
    // The gateway's own checks say what an input means.
    const input = call.input as Input<OperationName>;
    const result = await calls.call(gatewayId, operation, input, {
      ...{ accountId, deadlineMs: DEADLINE_MS, lockTimeoutMs: call.lockTimeoutMs, signal: gone.signal },
      onProgress: (progress) => {
        lines.progress(progress);
      },
    });
    lines.result(result);
  } catch (error) {
    lines.failure(toSgwError(error));
  }
}

function bodyOf(body: unknown): CallRequest {
  let value: unknown;
  try {
    value = parseShallowJson((body as Buffer).toString('utf8'));
  } catch {
    throw badCall();
  }
  if (!Value.Check(Body, value)) throw badCall();
  return value as CallRequest;
}

const badCall = (): SgwError =>
  new SgwError('invalid', 'bad-request', 'the request can not be read: it is no call of an operation', {
    hint: 'sgw and the service may be of different versions.',
    details: { status: 400 },
  });

const unknownOperation = (operation: string): SgwError =>
  new SgwError('unsupported', 'unknown-operation', `no gateway knows an operation "${operation.slice(0, 64)}"`);

const rootMayNot = (operation: string): SgwError =>
  new SgwError(
    'denied',
    'root-may-not',
    `root does not do ${operation.replace('.', ' ')} on a gateway of another account`,
    {
      hint: 'Use an access key of that account.',
    },
  );

const tooManyCalls = (count: number): SgwError =>
  new SgwError('unavailable', 'too-many-calls', `${String(count)} calls are under way`, {
    hint: 'Wait until some of them are done.',
  });
