/** The APIs of AWS that the service answers: parts of a server. */
export { ebsFrontEnd } from './ebs/front-end.ts';
export { noteResumed } from './storagegateway/resumed.ts';
export { storageGatewayApi } from './storagegateway/front-end.ts';
