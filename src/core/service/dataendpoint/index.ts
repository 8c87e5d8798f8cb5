/** The data endpoint: the store of gateways whose data goes through the service. A part that only a service on the network loads. */
export { dataEndpoint } from './front-end.ts';
export { GarbageSchedule } from './garbage.ts';
