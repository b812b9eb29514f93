# The image: the static program, its licences, nothing else. `make image` builds it for amd64 and arm64 without a Docker
# daemon; hack/image.sh lays the folder ready that this copies from, as no image with a compiler is to be had offline.
FROM scratch
ARG TARGETARCH
COPY linux_${TARGETARCH}/ /
# As runAsUser in yaml/deployment.yaml. A number, because runAsNonRoot cannot tell of a name whether it is root.
USER 65532:65532
# No CA certificates: the program speaks with the API server alone, whose CA comes with the service account.
ENTRYPOINT ["/podinfolookup"]
