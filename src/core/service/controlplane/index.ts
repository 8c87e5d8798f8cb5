/** The control plane: a part of its own, since only a service that gateways dial loads it. */
export { ControlPlane, type ControlPlaneParts } from './control-plane.ts';
export { controlFrontEnd } from './front-end.ts';
export { MemoryBus } from './memory-bus.ts';
export type { CertificateIssuer } from './upkeep.ts';
