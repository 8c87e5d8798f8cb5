/**
 * The messages of room `protocol` over HTTP: `POST /v1/messages/<name>` with the input as JSON, answered by the result as JSON.
 * On the listener of customers, one with an Authorization is a user's, one without a device's; on that of gateways, it is
 * the gateway's.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseShallowJson, SgwError } from '../../kit/index.ts';
import type { MessageInput, MessageName } from '../../protocol/index.ts';
import type { Authenticator } from '../identity/authenticator.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import type { FrontEnd } from './front-end.ts';
import type { NetworkMessages } from './principal-messages.ts';

/** Of whoever comes: read before it is known who that is. */
const BODY_BYTES_MAX = 64 << 10;
/** Of gateways, which ask about thousands of snapshots at once. */
const GATEWAY_BODY_BYTES_MAX = 512 << 10;
/** Under way of one gateway: over HTTP/2 it may begin many, and end none. */
const OF_GATEWAY_MAX = 32;
/** A message is a few reads and writes of the store. */
const DEADLINE_MS = 60_000;
const PATH = '/v1/messages/:name';

type Request = FastifyRequest<{ Params: { name: string }; Body: Buffer }>;

/** For users and devices. */
export function customerMessages(messages: NetworkMessages, authenticator: Authenticator): FrontEnd {
  return {
    name: 'messages',
    listener: 'api',
    add: (app) => {
      addRoute(app, BODY_BYTES_MAX, async (request, signal) => {
        const { params, method, url, headers, body } = request;
        if (headers.authorization === undefined) return await messages.asDevice(params.name, inputOf(body), signal);
        const { user } = await authenticator.verify({ method, url, headers, body }, 'sgw');
        // Its name and form are checked by what answers.
        const name = params.name as MessageName;
        return await messages.asUser(user, name, inputOf(body) as MessageInput<MessageName>, signal);
      });
    },
  };
}

/** For gateways, over their own connection. */
export function gatewayMessages(
  messages: NetworkMessages,
  gatewayOf: (request: FastifyRequest) => GatewayPrincipal,
): FrontEnd {
  return {
    name: 'messages',
    listener: 'gateways',
    add: (app) => {
      const underWay = new Map<string, number>();
      app.addHook('onRequest', async (request, reply) => {
        const { gatewayId } = gatewayOf(request);
        reply.raw.once('close', enter(underWay, gatewayId));
        return Promise.resolve();
      });
      addRoute(app, GATEWAY_BODY_BYTES_MAX, async (request, signal) =>
        messages.asGateway(gatewayOf(request), request.params.name, inputOf(request.body), signal),
      );
    },
  };
}

/** The returned function ends it. @throws unavailable `too-many-requests` */
function enter(underWay: Map<string, number>, gatewayId: string): () => void {
  const count = underWay.get(gatewayId) ?? 0;
  if (count >= OF_GATEWAY_MAX) {
    throw new SgwError('unavailable', 'too-many-requests', `gateway ${gatewayId} has too many messages under way`, {
      hint: 'Try again in a moment.',
    });
  }
  underWay.set(gatewayId, count + 1);
  return () => {
    const left = (underWay.get(gatewayId) ?? 1) - 1;
    if (left > 0) underWay.set(gatewayId, left);
    else underWay.delete(gatewayId);
  };
}

/** `/ca.pem`: what the service's certificates are signed by. Whoever takes it compares its fingerprint. */
export function authorityPage(certificate: string): FrontEnd {
  return {
    name: 'ca',
    listener: 'api',
    add: (app) => {
      app.get('/ca.pem', async (_request, reply) => await reply.type('application/x-pem-file').send(certificate));
    },
  };
}

function addRoute(
  app: FastifyInstance,
  bodyLimit: number,
  answer: (request: Request, signal: AbortSignal) => Promise<unknown>,
): void {
  app.removeAllContentTypeParsers();
  // As it came: that is what is signed.
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, body);
  });
  app.post(PATH, { bodyLimit }, async (request: Request, reply: FastifyReply) => {
    const result = await answer(request, AbortSignal.timeout(DEADLINE_MS));
    return await reply.header('cache-control', 'no-store').send(result);
  });
}

function inputOf(body: unknown): unknown {
  try {
    return parseShallowJson((body as Buffer).toString('utf8'));
  } catch {
    throw new SgwError('invalid', 'bad-message', 'the message is not JSON');
  }
}
