/** `GET /control` on the gateways' listener: the WebSocket that a gateway opens and keeps. */
import websocket from '@fastify/websocket';
import type { FastifyRequest } from 'fastify';
import { SgwError } from '../../kit/index.ts';
import { CONTROL_FRAME_BYTES_MAX, CONTROL_PATH } from '../../protocol/index.ts';
import type { GatewayPrincipal } from '../identity/principal.ts';
import type { FrontEnd } from '../server/front-end.ts';
import type { ControlPlane } from './control-plane.ts';

/** Who opened a connection, by its certificate. */
export interface ControlCaller {
  readonly principal: GatewayPrincipal;
  /** When the certificate began, and when it ends. */
  readonly certificate?: { readonly beganMs: number; readonly endsMs: number };
}

/** `callerOf` finds out whose certificate a request came with. @throws denied */
export function controlFrontEnd(
  plane: ControlPlane,
  callerOf: (request: FastifyRequest) => Promise<ControlCaller>,
): FrontEnd {
  const callers = new WeakMap<object, ControlCaller>();
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
            callers.set(request, await callerOf(request));
          },
        },
        async (socket, request) => {
          const caller = callers.get(request);
          if (caller === undefined) socket.terminate();
          else await plane.accept(socket, caller.principal, caller.certificate);
        },
      );
    },
    close: async () => plane.close(),
  };
}
