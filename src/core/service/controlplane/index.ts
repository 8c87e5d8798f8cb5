/** The control plane: a part of its own, since only a service that gateways dial loads it. */
export { ControlPlane, type ControlPlaneParts } from './control-plane.ts';
export { controlFrontEnd } from './front-end.ts';
export { MemoryBus } from './memory-bus.ts';
export { NatsBus, newServerId } from './nats-bus.ts';
export { remoteOperations } from './remote-operations.ts';
