/** `GET /control` on the gateways' listener: the WebSocket that a gateway opens and keeps. */
import type { TLSSocket } from 'node:tls';
import websocket from '@fastify/websocket';
import type { FastifyRequest } from 'fastify';
import { SgwError } from '../../kit/index.ts';
import { CONTROL_FRAME_BYTES_MAX, CONTROL_PATH } from '../../protocol/index.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import type { FrontEnd } from '../server/front-end.ts';
import type { ControlPlane } from './control-plane.ts';

/** `gatewayOf` tells who sent a request: it was proved when the request came. */
export function controlFrontEnd(
  plane: Pick<ControlPlane, 'accept' | 'close'>,
  gatewayOf: (request: FastifyRequest) => GatewayPrincipal,
): FrontEnd {
  return {
    name: 'control',
    listener: 'gateways',
    add: async (app) => {
      await app.register(websocket, {
        options: { maxPayload: CONTROL_FRAME_BYTES_MAX, perMessageDeflate: false, clientTracking: true },
        // It was told in the log of the connection, if it was one.
        errorHandler: (_error, socket) => {
          socket.terminate();
        },
        // Connections are ended by `close`, which waits for what is under way.
        preClose: (done) => {
          done();
        },
      });
      app.get(
        CONTROL_PATH,
        {
          websocket: true,
          preValidation: async (request) => {
            if (!request.ws) throw new SgwError('invalid', 'websocket-only', 'this path takes a WebSocket alone');
            await Promise.resolve();
          },
        },
        async (socket, request) => {
          await plane.accept(socket, gatewayOf(request), certificateOf(request));
        },
      );
    },
    drain: async () => plane.close(),
    close: async () => plane.close(),
  };
}

/** From when until when the gateway's certificate is good; undefined without one. */
function certificateOf({ raw }: FastifyRequest): { readonly beganMs: number; readonly endsMs: number } | undefined {
  const certificate = (raw.socket as Partial<TLSSocket>).getPeerX509Certificate?.();
  if (certificate === undefined) return undefined;
  return { beganMs: Date.parse(certificate.validFrom), endsMs: Date.parse(certificate.validTo) };
}
