/** A running server of the service: a part of its own, since no other command loads its HTTP server and its certificates. */
export { runService } from './run-service.ts';
