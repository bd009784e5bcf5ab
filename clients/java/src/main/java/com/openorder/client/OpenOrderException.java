package com.openorder.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A call that failed: the gRPC status, and what OpenOrder says of the reason. There is a subclass for each code that
 * callers tell apart; {@link Reason} has the reasons.
 *
 * <p>It is a {@link StatusRuntimeException}: code that handles gRPC's own errors handles this one.
 */
@SuppressWarnings("serial") // not meant to be serialized: a gRPC status is not, either
public class OpenOrderException extends StatusRuntimeException {
    private final transient ErrorInfo info;
    private final transient List<BadRequest.FieldViolation> fieldViolations;
    private final transient Duration retryDelay;
    private final String requestId;

    private OpenOrderException(Details details) {
        super(details.status, details.trailers);
        info = details.info;
        fieldViolations = details.fieldViolations;
        retryDelay = details.retryDelay;
        requestId = details.requestId;
    }

    /**
     * What is known of a failed call. A stub that was not made by the client's own methods ({@link
     * OpenOrder#channel()}) and a future throw gRPC's own exceptions, or wrap them: this finds the error in them.
     */
    public static OpenOrderException from(Throwable thrown) {
        for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
            if (cause instanceof OpenOrderException) return (OpenOrderException) cause;
        }
        for (Throwable cause = thrown; cause != null; cause = cause.getCause()) {
            if (cause instanceof StatusRuntimeException || cause instanceof StatusException) {
                return of(Status.fromThrowable(cause), Status.trailersFromThrowable(cause), "");
            }
        }
        return of(Status.UNKNOWN.withDescription(String.valueOf(thrown)).withCause(thrown), null, "");
    }

    static OpenOrderException of(Status ended, Metadata trailers, String requestId) {
        if (ended.getCause() instanceof SessionEnded known) {
            return new SessionEnded(new Details(known.getStatus(), known.getTrailers(), requestId));
        }
        Status status = ended;
        if (connectionIsLost(ended)) {
            status = Status.UNAVAILABLE.withDescription(ended.getDescription()).withCause(ended.getCause());
        }
        Details details = new Details(status, trailers, requestId);
        return switch (status.getCode()) {
            case CANCELLED -> new Cancelled(details);
            case INVALID_ARGUMENT -> new InvalidArgument(details);
            case DEADLINE_EXCEEDED -> new DeadlineExceeded(details);
            case NOT_FOUND -> new NotFound(details);
            case ALREADY_EXISTS -> new AlreadyExists(details);
            case PERMISSION_DENIED -> new PermissionDenied(details);
            case UNAUTHENTICATED -> new Unauthenticated(details);
            case RESOURCE_EXHAUSTED -> new ResourceExhausted(details);
            case FAILED_PRECONDITION -> new FailedPrecondition(details);
            case ABORTED -> new Aborted(details);
            case OUT_OF_RANGE -> new OutOfRange(details);
            case UNAVAILABLE -> new Unavailable(details);
            default -> new OpenOrderException(details);
        };
    }

    /** The error of a session that has ended, and why it did. */
    static SessionEnded sessionEnded(OpenOrderException why) {
        return new SessionEnded(new Details(why.getStatus(), why.getTrailers(), why.getRequestId()));
    }

    /** What is written to a connection at the moment at which it is lost ends as UNKNOWN: nobody answered. */
    private static boolean connectionIsLost(Status status) {
        return status.getCode() == Status.Code.UNKNOWN && status.getCause() instanceof IOException;
    }

    /** The status code, such as {@code NOT_FOUND}. */
    public final Status.Code getCode() {
        return getStatus().getCode();
    }

    /** The stable reason, such as {@link Reason#ORDER_NOT_FOUND}; empty where the error did not come from OpenOrder. */
    public final String getReason() {
        return info.getReason();
    }

    /** Who gives the reason its meaning: {@code openorder}; empty where the error did not come from OpenOrder. */
    public final String getDomain() {
        return info.getDomain();
    }

    /** What else there is to the reason, such as {@code sku}; by reason, often empty. */
    public final Map<String, String> getMetadata() {
        return info.getMetadataMap();
    }

    /** All fields of the request that are at fault, each with a description and a reason of its own; else empty. */
    public final List<BadRequest.FieldViolation> getFieldViolations() {
        return fieldViolations;
    }

    /** How long OpenOrder asks to wait before the call is made again. */
    public final Optional<Duration> getRetryDelay() {
        return Optional.ofNullable(retryDelay);
    }

    /**
     * The request id that the call was made under, also one that the client chose. The same call under the same id is
     * done once, however often it is made: what to repeat after {@code DEADLINE_EXCEEDED}. Empty where there was none.
     */
    public final String getRequestId() {
        return requestId;
    }

    /** For people: code, description, reason and the fields at fault. */
    @Override
    public final String getMessage() {
        StringBuilder message = new StringBuilder(super.getMessage());
        if (!info.getReason().isEmpty()) message.append(" [").append(info.getReason()).append(']');
        for (BadRequest.FieldViolation violation : fieldViolations) {
            message.append("; ").append(violation.getField()).append(": ").append(violation.getDescription());
        }
        return message.toString();
    }

    /** The call was cancelled, or its thread interrupted. */
    public static final class Cancelled extends OpenOrderException {
        private Cancelled(Details details) { super(details); }
    }

    /** The request cannot be right: {@link #getFieldViolations()}. */
    public static final class InvalidArgument extends OpenOrderException {
        private InvalidArgument(Details details) { super(details); }
    }

    /** No answer in time. The work may still be done: repeat it under the same {@link #getRequestId()}. */
    public static final class DeadlineExceeded extends OpenOrderException {
        private DeadlineExceeded(Details details) { super(details); }
    }

    /** There is no such thing, or none that this caller may see. */
    public static final class NotFound extends OpenOrderException {
        private NotFound(Details details) { super(details); }
    }

    /** It is there already, or the request id was used for something else. */
    public static final class AlreadyExists extends OpenOrderException {
        private AlreadyExists(Details details) { super(details); }
    }

    /** This caller may not do this. */
    public static final class PermissionDenied extends OpenOrderException {
        private PermissionDenied(Details details) { super(details); }
    }

    /** The credential is missing or not good. */
    public static class Unauthenticated extends OpenOrderException {
        private Unauthenticated(Details details) { super(details); }
    }

    /**
     * The session that the client was signed in with has ended, for all its calls: it was revoked, or its refresh token
     * was refused; {@link #getReason()} says which. {@link OpenOrder#signIn} begins another one.
     */
    public static final class SessionEnded extends Unauthenticated {
        private SessionEnded(Details details) { super(details); }
    }

    /** A limit was reached, after all attempts. */
    public static final class ResourceExhausted extends OpenOrderException {
        private ResourceExhausted(Details details) { super(details); }
    }

    /** Not as things stand: {@link #getReason()}. */
    public static final class FailedPrecondition extends OpenOrderException {
        private FailedPrecondition(Details details) { super(details); }
    }

    /** Somebody else's change came first. */
    public static final class Aborted extends OpenOrderException {
        private Aborted(Details details) { super(details); }
    }

    /** It would take a number beyond its bounds. */
    public static final class OutOfRange extends OpenOrderException {
        private OutOfRange(Details details) { super(details); }
    }

    /** OpenOrder could not be reached, after all attempts. */
    public static final class Unavailable extends OpenOrderException {
        private Unavailable(Details details) { super(details); }
    }

    /** What the trailer {@code grpc-status-details-bin} holds. */
    private static final class Details {
        final Status status;
        final Metadata trailers;
        final String requestId;
        ErrorInfo info = ErrorInfo.getDefaultInstance();
        List<BadRequest.FieldViolation> fieldViolations = List.of();
        Duration retryDelay;

        Details(Status status, Metadata trailers, String requestId) {
            this.status = status;
            this.trailers = trailers == null ? new Metadata() : trailers;
            this.requestId = requestId;
            com.google.rpc.Status details = StatusProto.fromStatusAndTrailers(status, this.trailers);
            for (Any detail : details.getDetailsList()) read(detail);
        }

        private void read(Any detail) {
            try {
                if (detail.is(ErrorInfo.class)) {
                    info = detail.unpack(ErrorInfo.class);
                } else if (detail.is(BadRequest.class)) {
                    fieldViolations = detail.unpack(BadRequest.class).getFieldViolationsList();
                } else if (detail.is(RetryInfo.class)) {
                    com.google.protobuf.Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
                    retryDelay = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
                }
            } catch (InvalidProtocolBufferException unreadable) {
                // The error stands without this detail.
            }
        }
    }
}
